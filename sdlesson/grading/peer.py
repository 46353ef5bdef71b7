"""One end of the talk between a judge and the program that it judges.

A message is a dictionary: JSON of at most MOST_TEXT bytes, and its tensors, of at most MOST_BYTES, as safetensors.
While an end waits for something else, it answers the other end's calls of the functions that it has offered.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import math
import os
import signal
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load, save

from .values import pack, unpack

MOST_TEXT = 2**22  # 100000 words are less
MOST_BYTES = 2**26  # 80 pictures of 512 x 512 pixels are less
MOST_MESSAGES = 20_000  # of one notebook; some hundred checks with some dozen calls each are less
_SOONER = 0.8  # of a call's time, after which the program itself ends it: then it can go on with the next cell


class Lost(Exception):
    """The other end is gone, is too slow, or says what no program of ours says: nothing more is heard of it."""


class Peer:
    """An end on a socket. `trusts` is False at the judge's end: there, time and messages are counted.

    `call_seconds` is how long a call may take, `ends` the time.monotonic() at which all is over.
    """

    def __init__(self, channel: socket.socket, *, trusts: bool, call_seconds: float, ends: float = math.inf):
        self.channel, self.trusts, self.call_seconds, self.ends = channel, trusts, call_seconds, ends
        self.offered: list[Callable] = []
        self.busy = False  # with a call of the other end
        self._heard = 0

    def send(self, **message) -> None:
        """Send a message with any values; raises Lost."""
        data = as_bytes(message, self._offer)
        try:
            self.channel.settimeout(None if self.trusts else self.call_seconds)
            self.channel.sendall(data)
        except OSError:
            raise Lost("it does not listen any more") from None

    def hear(self, *wanted: str, seconds: float = math.inf) -> dict:
        """The next message with one of the `wanted` keys; raises Lost after `seconds`, or where another one comes."""
        until = min(self.ends, time.monotonic() + seconds)
        while True:
            self._heard += 1
            if self._heard > MOST_MESSAGES and not self.trusts:
                raise Lost("it sent too many messages")
            message = from_bytes(lambda many: self._read(many, until), self.ask, trusts=self.trusts)
            if "call" in message:
                self._answer(message)
            elif any(key in message for key in wanted):
                return message
            else:
                raise Lost("it spoke out of turn")

    def ask(self, number: int, arguments, keywords):
        """What function `number` of the other end gives; raises what it raises, or Lost.

        Where an argument names a file that is not yet there, and the function writes a picture to it, so does this.
        What it writes into tensors that are arguments is written into them here, too.
        """
        file = _new_file(arguments)
        self.send(call=number, arguments=[Path(x) if x is file else x for x in arguments], keywords=keywords)
        try:
            heard = self.hear("result", "error", seconds=self.call_seconds)
        except Lost:
            self.ends = 0  # whatever it says later would be taken for an answer to something else
            raise
        if heard.get("random") is True:
            torch.rand(())  # it drew from the generator that all share; so that one is seen to change here, too
        _write_into(arguments, heard.get("arguments"))
        if "error" in heard:
            raise _error(heard["error"])
        if file and isinstance(heard.get("file"), Image.Image):
            heard["file"].save(file)
        return heard["result"]

    def _answer(self, message: dict) -> None:
        """Call a function for the other end; what it raises is an answer, too."""
        before, self.busy = torch.get_rng_state(), True
        try:
            function, given = self.offered[message["call"]], message["arguments"]
            file = _new_file(given) if self.trusts else None
            kept = [each.clone() if isinstance(each, torch.Tensor) else None for each in given]
            with limited(self.call_seconds * _SOONER if self.trusts else None):
                reply = {"result": function(*given, **message["keywords"])}
            if any(old is not None and not torch.equal(old, new) for old, new in zip(kept, given, strict=True)):
                reply["arguments"] = given
            if file and os.path.isfile(file):
                with Image.open(file) as picture:
                    reply["file"] = picture.convert("RGB")
        except Lost:
            raise
        except BaseException as error:
            if not (self.trusts or isinstance(error, Exception)):
                raise
            reply = {"error": [type(error).__name__, str(error)[:500]]}
        finally:
            self.busy = False
        self.send(**reply, random=not torch.equal(before, torch.get_rng_state()))

    def _read(self, many: int, until: float) -> bytes:
        found = bytearray()
        while len(found) < many:
            left = until - time.monotonic()
            if left <= 0:
                raise Lost("it took too long")
            try:
                self.channel.settimeout(None if left == math.inf else left)
                more = self.channel.recv(min(many - len(found), 2**20))
            except TimeoutError:
                continue
            except OSError:
                more = b""
            if not more:
                raise Lost("its program has ended")
            found += more
        return bytes(found)

    def _offer(self, function: Callable) -> int:
        self.offered.append(function)
        return len(self.offered) - 1


@contextlib.contextmanager
def limited(seconds: float | None):
    """Raise TimeoutError in the main thread after `seconds`; the limit around this one begins anew at its end."""
    before = signal.setitimer(signal.ITIMER_REAL, seconds)[0] if seconds else 0
    try:
        yield
    finally:
        if seconds:
            signal.setitimer(signal.ITIMER_REAL, before)


def as_bytes(message: dict, offer: Callable[[Callable], int]) -> bytes:
    """A message as it crosses; where it is too large, each value but a text becomes Unreadable."""
    tensors: dict[str, torch.Tensor] = {}
    body = {key: pack(value, tensors, offer) for key, value in message.items()}
    text = json.dumps(body).encode()
    if len(text) > MOST_TEXT or sum(each.nbytes for each in tensors.values()) > MOST_BYTES:
        body = {key: each if isinstance(each, str) else {"unreadable": "too large"} for key, each in body.items()}
        text, tensors = json.dumps(body).encode(), {}
    numbers = save(tensors)
    return struct.pack(">II", len(text), len(numbers)) + text + numbers


def from_bytes(read: Callable[[int], bytes], ask: Callable, *, trusts: bool) -> dict:
    """The message that `read` gives the bytes of; raises Lost where it is none, or too large."""
    length, many = struct.unpack(">II", read(8))
    if length > MOST_TEXT or many > 2 * MOST_BYTES:  # a text of MOST_TEXT names no more tensors than that
        raise Lost("it sent a message that is too long")
    text, numbers = read(length), read(many)
    try:
        body, tensors = dict(json.loads(text)), load(numbers)
    except Exception:  # the bytes may be anything
        raise Lost("it sent what is no message") from None
    return {key: unpack(each, tensors, ask, trusts=trusts) for key, each in body.items()}


def _new_file(arguments) -> str | None:
    """The first argument that is the whole path of a file to be written; a text of a lesson is none."""
    paths = (each for each in arguments if isinstance(each, str) and os.path.isabs(each))
    return next((path for path in paths if not os.path.exists(path)), None)


def _write_into(arguments, written) -> None:
    """Give tensors among the arguments the numbers that the other end says it wrote into them."""
    for mine, theirs in zip(arguments, written if isinstance(written, list) else [], strict=False):
        if isinstance(mine, torch.Tensor) and isinstance(theirs, torch.Tensor) and mine.shape == theirs.shape:
            mine.data.copy_(theirs)


def _error(said) -> Exception:
    """The exception of Python's that bears the name, or one of that name."""
    name, text = map(str, said if isinstance(said, list) and len(said) == 2 else ("Error", "an error"))
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        with contextlib.suppress(TypeError):  # UnicodeDecodeError wants five words
            return kind(text)
    return type(name if name.isidentifier() else "Error", (Exception,), {})(text)
