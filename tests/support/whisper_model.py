"""A Whisper model of a few hundred kilobytes that has learned nothing: real in form, its words are chance."""

from pathlib import Path
from typing import Any

_WIDTH, _STEPS, _PLACES, _BANDS = 16, 1500, 448, 80


def make(folder: Path) -> Path:
    """Write the model, in CTranslate2's form with its tokenizer, and return its folder."""
    import numpy as np
    from ctranslate2.specs import WhisperSpec
    from tokenizers import AddedToken, Tokenizer, decoders, models

    chance = np.random.default_rng(1)

    def weights(*shape: int) -> Any:
        return chance.normal(0, 0.3, shape).astype(np.float32)

    def linear(layer: Any, out: int, into: int) -> None:
        layer.weight, layer.bias = weights(out, into), weights(out)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(_WIDTH, np.float32), np.zeros(_WIDTH, np.float32)

    words = [f" w{n}" for n in range(200)]
    told = ["endoftext", "startoftranscript", "en", "translate", "transcribe", "startoflm", "startofprev"]
    special = [f"<|{name}|>" for name in (*told, "nospeech", "notimestamps")]
    tokens = [*words, *special, *(f"<|{n * 0.02:.2f}|>" for n in range(_STEPS + 1))]

    spec = WhisperSpec(1, 1, 1, 1)
    encoder, decoder = spec.encoder, spec.decoder
    for layer, bands in ((encoder.conv1, _BANDS), (encoder.conv2, _WIDTH)):
        layer.weight, layer.bias = weights(_WIDTH, bands, 3), weights(_WIDTH)
    encoder.position_encodings.encodings = weights(_STEPS, _WIDTH)
    decoder.position_encodings.encodings = weights(_PLACES, _WIDTH)
    decoder.embeddings.weight = decoder.projection.weight = weights(len(tokens), _WIDTH)
    for part in (encoder, decoder):
        norm(part.layer_norm)
    for layer in (*encoder.layer, *decoder.layer):
        norm(layer.self_attention.layer_norm)
        linear(layer.self_attention.linear[0], 3 * _WIDTH, _WIDTH)
        linear(layer.self_attention.linear[1], _WIDTH, _WIDTH)
        norm(layer.ffn.layer_norm)
        linear(layer.ffn.linear_0, 4 * _WIDTH, _WIDTH)
        linear(layer.ffn.linear_1, _WIDTH, 4 * _WIDTH)
    for layer in decoder.layer:
        norm(layer.attention.layer_norm)
        for one, out in zip(layer.attention.linear, (_WIDTH, 2 * _WIDTH, _WIDTH), strict=True):
            linear(one, out, _WIDTH)
    spec.config.suppress_ids = spec.config.suppress_ids_begin = []
    spec.config.alignment_heads = [[0, 0]]
    spec.config.lang_ids = [tokens.index("<|en|>")]
    spec.register_vocabulary(tokens)
    spec.validate()
    spec.save(str(folder))

    tokenizer = Tokenizer(
        models.WordLevel({token: n for n, token in enumerate(tokens)}, unk_token=special[0])
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
