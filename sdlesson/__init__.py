"""sdlesson: a small Stable Diffusion of one's own, every tensor of it in reach.

    import sdlesson
    sd = sdlesson.load()
    sdlesson.paint("a photograph of an astronaut riding a horse", model=sd)[0]

Importing this package imports nothing heavy: a room (`sdlesson.tokens`, `sdlesson.sigmas` ...) loads when first used.
"""

import importlib

_HOME = {  # public name -> the room that it lives in
    "load": "models",
    "checkpoint_path": "models",
    "StableDiffusion": "models",
    "BadInput": "models",
    "ModelError": "models",
    "tokenize": "tokens",
    "TruncationWarning": "tokens",
    "UnknownWordsWarning": "tokens",
    "embed": "embeddings",
    "text_embeddings": "embeddings",
    "encode": "latents",
    "initial_noise": "latents",
    "lms_coefficients": "sigmas",
    "Step": "guidance",
    "denoise": "guidance",
    "Trace": "guidance",
    "record": "guidance",
    "decode": "decoding",
    "paint": "decoding",
    "to_pil": "decoding",
    "save_png": "decoding",
    "save_trace": "decoding",
    "read_trace": "decoding",
}
_ROOMS = frozenset(_HOME.values()) | {
    *("exercises", "figures", "onepage", "training", "world"),
    *("attention", "steering", "samplers", "fullsize", "symptoms", "widgets"),
}

__all__ = [*_HOME, "__version__"]  # found by __getattr__


def __getattr__(name: str):
    """Load a room, or a public name's room, when it is first asked for (PEP 562)."""
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOME:
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    elif name == "__version__":
        value = _version()
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__, *_ROOMS})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(__name__)
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"
