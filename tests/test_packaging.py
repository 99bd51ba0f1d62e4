"""The wheel: all that the service needs is in it, and it runs from there alone."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from email import message_from_string, policy
from pathlib import Path

import pytest
import yaml

from esl_voicemail import __version__

ROOT = Path(__file__).parent.parent
TEXTS = ROOT / "greetings" / "texts.yaml"
DATA = f"esl_voicemail-{__version__}.data/data"


def libraries() -> tuple[str, str]:
    """Return where the packages are that the service stands on."""
    return sysconfig.get_path("purelib"), sysconfig.get_path("platlib")


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a commit of this tree would hold: the tree itself stays clean."""
    copy = tmp_path_factory.mktemp("copy")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    return copy


def build(copy: Path, out: Path, **environment: str) -> Path:
    """Build the wheel."""
    script = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    built = subprocess.run(
        [sys.executable, "-c", script, str(out)],
        cwd=copy,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert built.returncode == 0, built.stderr
    (found,) = out.iterdir()
    return found


@pytest.fixture(scope="module")
def wheel(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(copy, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Run:
    """Runs Python in an empty folder, with the package from the wheel and from nowhere else.

    Without `site` (-S) nothing reads the .pth file by which an editable install leads to the tree.
    """
    path = os.pathsep.join((str(installed), *libraries()))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ESL_VOICEMAIL")}

    def ran(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-S", *arguments],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return ran


class TestContents:
    @pytest.mark.parametrize(
        "name",
        [
            "py.typed",
            *(
                f"mail/templates/{language}.{kind}.j2"
                for language in ("pl", "en")
                for kind in ("call", "voicemail", "empty", "failed", "undelivered")
            ),
            *(f"mail/templates/{shown}.j2" for shown in ("subject", "mail.txt", "mail.html")),
            "journal/migrations/env.py",
            "journal/migrations/versions/v0001_calls_and_deliveries.py",
            *(
                f"greetings/{language}/{greeting}.wav"
                for language, texts in yaml.safe_load(TEXTS.read_text("utf-8")).items()
                for greeting in texts
            ),
            "trial/caller.wav",
            "trial/channel.txt",
        ],
    )
    def test_the_wheel_holds(self, names: set[str], name: str) -> None:
        assert f"esl_voicemail/{name}" in names

    def test_the_wheel_holds_every_module_template_migration_and_dialplan_of_the_tree(
        self, names: set[str]
    ) -> None:
        code = ROOT / "esl_voicemail"
        kinds = [path for kind in ("*.py", "*.j2", "*.wav", "*.txt") for path in code.rglob(kind)]
        dialplans = list((ROOT / "dialplans").glob("*.xml"))
        assert dialplans

        wanted = {f"esl_voicemail/{path.relative_to(code)}" for path in kinds}
        wanted |= {f"esl_voicemail/dialplans/{path.name}" for path in dialplans}
        assert sorted(wanted - names) == []

    def test_the_wheel_holds_the_example_configuration(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as file:
            example = file.read(f"{DATA}/share/esl-voicemail/voicemail.yaml")

        assert example == (ROOT / "voicemail.yaml").read_bytes()

    def test_the_wheel_holds_the_unit(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as file:
            unit = file.read(f"{DATA}/share/esl-voicemail/esl-voicemail.service")

        assert unit == (ROOT / "docs" / "esl-voicemail.service").read_bytes()

    def test_the_wheel_holds_nothing_else(self, names: set[str]) -> None:
        about = f"esl_voicemail-{__version__}.dist-info/"

        strangers = [
            name for name in names if not name.startswith(("esl_voicemail/", about, f"{DATA}/share/"))
        ]

        assert strangers == []
        assert [name for name in names if "test" in name or name.endswith((".pyc", ".eml", ".sqlite"))] == []

    def test_the_wheel_names_the_command(self, installed: Path) -> None:
        about = installed / f"esl_voicemail-{__version__}.dist-info"

        assert "esl-voicemail = esl_voicemail.__main__:main" in (about / "entry_points.txt").read_text()
        assert "Requires-Python: >=3.11" in (about / "METADATA").read_text()

    def test_without_a_compiler_it_is_built_all_the_same_and_hears_the_same(
        self, copy: Path, installed: Path, tmp_path: Path
    ) -> None:
        tree = shutil.copytree(copy, tmp_path / "tree", ignore=shutil.ignore_patterns("build"))
        (wheels := tmp_path / "wheels").mkdir()
        with zipfile.ZipFile(build(tree, wheels, CC="false")) as file:
            file.extractall(tmp_path / "slower")

        script = (
            "from pathlib import Path\n"
            "import esl_voicemail\n"
            "from esl_voicemail.audio.compiled import measured\n"
            "from esl_voicemail.audio.hearing import listen\n"
            "caller = Path(esl_voicemail.__file__).parent / 'trial' / 'caller.wav'\n"
            "print(measured is not None, listen(caller), sep='; ')"
        )
        compiled, slower = (
            subprocess.run(
                [sys.executable, "-S", "-c", script],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(place), *libraries()])},
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            ).stdout
            for place in (installed, tmp_path / "slower")
        )

        assert slower.startswith("False; Hearing(content=<Content.SPEECH")
        assert slower == compiled.replace("True;", "False;")

    def test_building_leaves_nothing_in_the_tree(self, wheel: Path) -> None:
        assert not (ROOT / "build").exists()
        assert not (ROOT / "dist").exists()


class TestInstalled:
    def test_it_is_the_wheel_s_package_that_runs(self, run: Run, installed: Path) -> None:
        script = (
            "import sys, esl_voicemail.cli\n"
            "ours = [one for name, one in sys.modules.items() if name.startswith('esl_voicemail')]\n"
            "print(*(one.__file__ for one in ours))"
        )

        ran = run("-c", script)

        assert ran.stderr == ""
        assert {file for file in ran.stdout.split() if not file.startswith(str(installed))} == set()

    @pytest.mark.usefixtures("default_ports")
    def test_the_embedded_defaults_pass_the_check(self, run: Run) -> None:
        ran = run("-m", "esl_voicemail", "check")

        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.splitlines()[-1].startswith("embedded defaults: ok")

    def test_the_greetings_are_the_wheel_s(self, run: Run, installed: Path) -> None:
        ran = run("-m", "esl_voicemail", "mailbox", "show", "default")

        assert str(installed / "esl_voicemail" / "greetings" / "pl" / "default.wav") in ran.stdout

    @pytest.mark.usefixtures("default_ports")
    def test_the_example_configuration_passes_the_check(
        self, run: Run, installed: Path, tmp_path: Path
    ) -> None:
        shutil.copy(installed / DATA / "share" / "esl-voicemail" / "voicemail.yaml", tmp_path)

        ran = run("-m", "esl_voicemail", "check")

        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.splitlines()[-1].startswith("voicemail.yaml: ok")

    def test_a_mail_can_be_written(self, run: Run) -> None:
        ran = run("-m", "esl_voicemail", "render", "--sample", "default")

        assert (ran.returncode, ran.stderr) == (0, "")
        mail = message_from_string(ran.stdout, policy=policy.default)
        assert [part.get_content_type() for part in mail.iter_attachments()] == ["audio/mpeg"]

    def test_a_journal_can_be_made(self, run: Run, tmp_path: Path) -> None:
        script = (
            "from pathlib import Path\n"
            "from esl_voicemail.journal.engine import migrate, open_engine, url_of\n"
            "migrate(open_engine(url_of(Path.cwd()), writing=True))"
        )

        made = run("-c", script)

        assert (made.returncode, made.stderr) == (0, "")
        assert (tmp_path / "journal.sqlite").stat().st_size > 0
