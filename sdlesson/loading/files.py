"""One file of a model: JSON and safetensors, read only as far as is needed to know that they are whole. No torch."""

from __future__ import annotations

import json
import struct
from pathlib import Path

from .errors import ModelError

#: The longest header that safetensors itself reads, in bytes (MAX_HEADER_SIZE in its safetensors/src/tensor.rs).
MOST_HEADER = 100_000_000


def read_json(file: Path) -> dict:
    """The JSON object that `file` holds, with or without a byte-order mark; raises ModelError where it holds none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ModelError(f"{file} cannot be read as JSON: it is corrupt or only half downloaded.")
    return content


def check_safetensors(file: Path) -> None:
    """Raise ModelError unless `file` is a whole safetensors file: its length must be what its header promises.

    The format: 8 bytes with the header's length, the header (JSON: name -> dtype, shape, data_offsets), then the data.
    """
    try:
        size, stream = file.stat().st_size, open(file, "rb")  # noqa: SIM115  (closed by the with below)
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}.") from None
    with stream:
        start = stream.read(8)
        if start == b"version ":
            raise ModelError(f"{file} is a Git LFS pointer, not the weights themselves; run `git lfs pull` there.")
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if MOST_HEADER < length <= size - 8:
            raise ModelError(f"{file} has a header of {length} bytes; safetensors reads {MOST_HEADER} at most.")
        try:
            header = json.loads(stream.read(length)) if length <= size - 8 else None
            end = 8 + length + max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
            raise ModelError(f"{file} is corrupt or only half downloaded: its header cannot be read.") from None
    if end != size:
        raise ModelError(f"{file} is corrupt or only half downloaded: it has {size} bytes and should have {end}.")
