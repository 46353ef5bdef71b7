"""Quiet while a model is loaded: quick imports, and no chatter of the libraries."""

from __future__ import annotations

import contextlib
import gc
import threading


@contextlib.contextmanager
def quick_imports():
    """Import without the garbage collector: it would walk the million objects of torch and diffusers again and again.

    What modules hold is never garbage; pausing takes about a fifth off the time of these imports.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


class _Quiet(contextlib.AbstractContextManager):
    """The one of `quiet`: it counts who is inside, since the libraries' settings are those of the whole process."""

    def __init__(self):
        self._lock, self._inside, self._before = threading.Lock(), 0, []

    def __enter__(self):
        from diffusers.utils import logging as diffusers_log
        from transformers.utils import logging as transformers_log

        with self._lock:
            self._inside += 1
            if self._inside == 1:
                logs = (diffusers_log, transformers_log)
                self._before = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
                for log in logs:
                    log.set_verbosity_error()
                    log.disable_progress_bar()

    def __exit__(self, *_):
        with self._lock:
            self._inside -= 1
            for log, verbosity, bars in () if self._inside else self._before:
                log.set_verbosity(verbosity)
                if bars:
                    log.enable_progress_bar()


_QUIET = _Quiet()


def quiet() -> contextlib.AbstractContextManager:
    """No progress bars and no warnings of diffusers and transformers while loading; their settings come back after.

    Of several threads inside, the last one to leave brings them back.
    """
    return _QUIET
