"""What setup.cfg cannot say: the one module that is compiled, where there is a C compiler."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "esl_voicemail.audio._measured",
            ["esl_voicemail/audio/_measured.c"],
            extra_compile_args=["-O3"],
            optional=True,
        )
    ]
)
