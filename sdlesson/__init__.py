"""sdlesson: a small Stable Diffusion of one's own, every tensor of it in reach.

    import sdlesson
    sd = sdlesson.load()
    sdlesson.paint("a photograph of an astronaut riding a horse", model=sd)[0]

Importing this package imports nothing heavy: a room (`sdlesson.tokens`, `sdlesson.sigmas` ...) loads when first used.
"""

import importlib

#: The lessons in their order, topic -> title. A topic names the lesson's room, its figures, its judges and its tests;
#: its place is its number: 00, 01 ... To put a lesson in between, add one line here and rename the notebooks after it.
LESSONS = {
    "onepage": "One page",
    "tokens": "Tokens",
    "embeddings": "Embeddings",
    "latents": "Latents",
    "sigmas": "Sigmas",
    "unet": "UNet",
    "guidance": "Guidance",
    "decoding": "Decoding",
    "attention": "Attention",
    "steering": "Steering",
    "samplers": "Samplers",
    "training": "Training",
    "fullsize": "Full size",
}
#: The pages beside them, which have no number; only the first has a room.
PAGES = {
    "symptoms": "Symptoms",
    "clinic": "Clinic",
    "questions": "Questions",
    "before_you_start": "Before you start",
}

_HOME = {  # public name -> the module that it lives in
    "load": "models",
    "checkpoint_path": "models",
    "StableDiffusion": "models",
    "BadInput": "loading.errors",
    "ModelError": "loading.errors",
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
    "sweep": "sweeps.run",
}
_MODULES = frozenset(
    (
        *LESSONS,
        "symptoms",
        "models",
        "world",
        "tiny",
        "figures",
        "explorers",
        "exercises",
        "loading",
        "engine",
        "sweeps",
    )
)

__all__ = [*_HOME, "LESSONS", "PAGES", "__version__"]  # found by __getattr__


def lesson_number(topic: str) -> str:
    """The number of a lesson, "00", "01" ...; empty for a page without one. Raises KeyError for another topic."""
    if topic in PAGES:
        return ""
    if topic not in LESSONS:
        raise KeyError(f"no lesson {topic!r}; there are {', '.join(LESSONS | PAGES)}")
    return f"{list(LESSONS).index(topic):02}"


def notebook_name(topic: str) -> str:
    """The name of a lesson's notebook without its ending, such as "06_guidance". Raises KeyError for another topic."""
    number, title = lesson_number(topic), (LESSONS | PAGES)[topic]
    return f"{number}_{title}".lstrip("_").lower().replace(" ", "_")


def __getattr__(name: str):
    """Load a module, or a public name's module, when it is first asked for (PEP 562)."""
    if name in _MODULES:
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
    return sorted({*globals(), *__all__, *_MODULES})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(__name__)
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"
