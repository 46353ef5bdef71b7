"""A model from the hub: only the files that are needed, the space checked first, a broken download taken up again.

huggingface_hub throws a half downloaded file away when its process ends, and takes what a server says of a file as the
name under which it is stored. So the files are fetched here, into the hub's own cache and under its names: each
checksum, size and name is looked at first, and the small files before the large ones, which may then not be needed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .errors import ModelError, first_line, say
from .fit import check_configurations
from .folders import HUB_FILES, WEIGHTS, check_folder, check_names, second_copies, weights_name

#: The revisions that `load()` takes where none is named; many public projects name these commits, too.
PINNED = {
    "CompVis/stable-diffusion-v1-4": "133a221b8aa7292a167afc5127cb63fb5005638b",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
}


_SPARE = 64 * 2**20  # bytes that a download leaves free on the disk


_COMMIT = re.compile("[0-9a-f]{40}")


_REVISION = re.compile(r"(?!.*\.\.)\w[\w.+-]*(/\w[\w.+-]*)*")


_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")  # no way out of a folder: no "..", nothing absolute, no backslash


_CHECKSUM = re.compile("[0-9a-f]{64}|[0-9a-f]{40}")


_NO_HUB = (KeyError, TypeError, AttributeError, RecursionError)  # from reading an answer that is not the hub's


@dataclass(frozen=True)
class _File:
    """A file of a repository: `checksum` is its SHA-256, or Git's SHA-1 for a small one; the cache's name for it."""

    name: str
    size: int
    checksum: str


def from_hub(name: str, revision: str | None = None, *, seconds: float = 10.0) -> Path:
    """The folder of a hub id: from the cache without asking the network if all is there, else downloaded.

    `seconds` is how long the hub may take to answer. Raises ModelError, with one sentence, where it cannot be had.
    """
    import huggingface_hub as hub
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except ValueError as error:
        raise ModelError(f"There is no folder {name}, and it is no hub id: {first_line(error)}") from None
    revision = revision or PINNED.get(name)
    if revision is not None and not (isinstance(revision, str) and _REVISION.fullmatch(revision)):
        raise ModelError(f"There is no revision {revision!r} of {name}: name a branch, a tag or a commit.")
    small = [pattern for pattern in HUB_FILES["allow_patterns"] if "safetensors" not in pattern]
    why = ""
    try:
        wanted = {"revision": revision, "allow_patterns": small}
        return check_folder(Path(hub.snapshot_download(name, **wanted, local_files_only=True)))
    except ModelError as error:  # not whole, or of another kind: ask the network
        why = f": {error}"
    except OSError:  # not cached
        pass
    if hub.constants.HF_HUB_OFFLINE:
        raise ModelError(
            f"There is no folder {name}; as a hub id it is not (wholly) in the local cache, and HF_HUB_OFFLINE forbids "
            f"the network{why or '.'}"
        )
    if urlsplit(hub.constants.ENDPOINT).scheme not in ("http", "https"):
        raise ModelError(f"HF_ENDPOINT is {hub.constants.ENDPOINT!r}; it must begin with https:// or http://.")
    info = None
    try:
        info = hub.HfApi().repo_info(name, revision=revision, files_metadata=True, timeout=seconds)
        folder = _fetch_all(name, info)
        _remember(_home(name) / "refs" / (revision or "main"), info.sha)
    except ModelError:
        raise
    except Exception as error:  # the hub's own errors, the HTTP client's, OSError for a full disk ...
        reason = _reason(error, revision, begun=info is not None)
        raise ModelError(f"There is no folder {name}, and as a hub id it cannot be loaded: {reason}") from error
    return check_folder(folder)


def _fetch_all(name: str, info) -> Path:
    """Bring what is needed of a repository into the cache, each file whole or not at all; returns the folder.

    `info` is the hub's ModelInfo with the files' sizes. Nothing is downloaded where the repository holds no Stable
    Diffusion or the disk has no room for it, and no weights where its configurations do not fit. Raises ModelError.
    """
    files, home = _described(name, info), _home(name)
    folder = home / "snapshots" / info.sha
    lost = [file for file in files if not _is_there(folder / file.name, file)]
    _check_space(name, home, lost)
    if lost:
        size = _amount(sum(file.size for file in lost))
        say(f"sdlesson: downloading {name}: {len(lost)} files, {size}, to {home}", error=True)
    weights = {file for file in lost if file.name.endswith(".safetensors")}
    for file in sorted(lost, key=weights.__contains__):  # the weights last
        if file in weights:
            check_configurations(folder)
        _link(_fetch(name, info.sha, file, home), folder / file.name)
    return folder


def _described(name: str, info) -> list[_File]:
    """The needed files of the repository, as the hub describes them; raises ModelError where that cannot be true."""
    from huggingface_hub.utils import filter_repo_objects

    told = {each.rfilename: each for each in info.siblings if _NAME.fullmatch(each.rfilename)}
    check_names(name, set(told))
    wanted = set(filter_repo_objects(told, **HUB_FILES))
    for part in WEIGHTS:
        if not weights_name(part, wanted):
            wanted |= second_copies(part, set(told))
    if not _COMMIT.fullmatch(info.sha):
        raise ModelError(f"What the hub says of {name} cannot be right: its commit is {info.sha!r}.")
    files = []
    for each in (told[file] for file in sorted(wanted)):
        checksum = each.lfs.sha256 if each.lfs else each.blob_id
        if type(each.size) is not int or each.size < 0:
            raise ModelError(
                f"What the hub says of {name} cannot be right: the size of {each.rfilename} is {each.size!r}."
            )
        if (
            not isinstance(checksum, str)
            or not _CHECKSUM.fullmatch(checksum)
            or len(checksum) != (64 if each.lfs else 40)
        ):
            raise ModelError(
                f"What the hub says of {name} cannot be right: {each.rfilename} has checksum {checksum!r}."
            )
        files.append(_File(each.rfilename, each.size, checksum))
    return files


def _fetch(name: str, commit: str, file: _File, home: Path) -> Path:
    """Download one file of the model `name` to `home`/blobs/`checksum`, from where an earlier try of it broke off.

    Until it is whole and its checksum right, it has another name. Returns its place; raises ModelError.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock, build_hf_headers

    blob, part = home / "blobs" / file.checksum, _part(home, file)
    lock = home.parent / ".locks" / home.name / f"{file.checksum}.lock"  # the hub's own: no two fetch one file
    for folder in (blob.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if _is_there(blob, file):
            return blob
        blob.unlink(missing_ok=True)
        if part.exists() and part.stat().st_size > file.size:
            part.unlink()
        url = hf_hub_url(name, file.name, revision=commit)
        try:
            with open(part, "ab") as stream:
                limited = _Limited(stream, file)
                http_get(url, limited, resume_size=stream.tell(), headers=build_hf_headers(), expected_size=file.size)
        except (OSError, ModelError) as error:
            if isinstance(error, ModelError) or error.errno == errno.ENOSPC:
                part.unlink(missing_ok=True)
            raise
        if _checksum(part, file) != file.checksum:
            part.unlink()
            raise ModelError(f"{file.name} was damaged on its way from the hub and is deleted; run this again.")
        os.replace(part, blob)
    return blob


class _Limited:
    """A file that takes no more bytes than the hub promised: a server may send without end."""

    def __init__(self, stream, file: _File):
        self.stream, self.file = stream, file

    def __getattr__(self, name: str):
        return getattr(self.stream, name)

    def write(self, data: bytes) -> int:
        if self.stream.tell() + len(data) > self.file.size:
            raise ModelError(f"{self.file.name} is longer than the hub said, and is deleted; run this again.")
        return self.stream.write(data)


def _link(blob: Path, place: Path) -> None:
    """Let `place` in a snapshot stand for `blob`; where links are forbidden, the file itself moves there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{secrets.token_hex(8)}.part")
    try:
        part.symlink_to(os.path.relpath(blob, place.parent))
    except OSError:
        part = blob
    os.replace(part, place)


def _remember(ref: Path, commit: str) -> None:
    """Write down which commit a branch or tag was, whole or not at all."""
    if ref.name == commit:
        return
    ref.parent.mkdir(parents=True, exist_ok=True)
    part = ref.with_name(f".{secrets.token_hex(8)}.part")
    part.write_text(commit)
    os.replace(part, ref)


def _home(name: str) -> Path:
    """Where the hub's cache keeps the model `name`: blobs (by checksum), snapshots (links to them) and refs."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE).expanduser().resolve() / repo_folder_name(repo_id=name, repo_type="model")


def _part(home: Path, file: _File) -> Path:
    return home / "blobs" / f"{file.checksum}.sdlesson.incomplete"


def _is_there(place: Path, file: _File) -> bool:
    """Does this file of the repository stand at `place`, with its full size?"""
    return place.is_file() and place.stat().st_size == file.size


def _check_space(name: str, home: Path, files: list[_File]) -> None:
    """Raise ModelError unless the disk has room for what is still to come of `files`."""
    lost = [file for file in files if not _is_there(home / "blobs" / file.checksum, file)]
    done = sum(part.stat().st_size for part in (_part(home, file) for file in lost) if part.exists())
    needed = sum(file.size for file in lost) - done
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free < needed + _SPARE:
        raise ModelError(
            f"The download of {name} needs {_amount(needed)} more on the disk of {home.parent}, which has "
            f"{_amount(free)} free; make room, or name a folder on another disk in HF_HOME."
        )


def _checksum(place: Path, file: _File) -> str:
    """The SHA-256 of what stands at `place`, or its SHA-1 as Git counts it ("blob", the size, a zero, the bytes)."""
    with open(place, "rb") as stream:
        if len(file.checksum) == 64:
            return hashlib.file_digest(stream, "sha256").hexdigest()
        return hashlib.sha1(b"blob %d\0" % file.size + stream.read(), usedforsecurity=False).hexdigest()


def _amount(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _reason(error: Exception, revision: str | None, begun: bool) -> str:
    """Why the hub or the way to it refused, in words."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "GatedRepoError" in kinds:
        return "its owner asks you to log in and accept the licence on the hub first."
    if "RepositoryNotFoundError" in kinds:
        return "the hub has no such model, or it is private and your token, if you gave one, does not open it."
    if "RevisionNotFoundError" in kinds:
        return f"the hub has no revision {revision!r} of it."
    if "HfHubHTTPError" in kinds:
        return _refusal(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full; what had come of the file is deleted."
    if kinds & {"TransportError", "ConnectionError", "LocalEntryNotFoundError"}:
        if begun:
            return "the download broke off; run this again, and it goes on from there."
        return "the hub cannot be reached (no network?), and it is not in the local cache."
    if str(error).startswith("Consistency check failed"):
        return "the download broke off; run this again, and it goes on from there."
    if isinstance(error, OSError) and error.errno and error.filename:
        return f"{error.filename} cannot be written: {error.strerror}."
    if "JSONDecodeError" in kinds or isinstance(error, _NO_HUB):
        return (
            "what answers in the hub's place is not the hub (a page to log in to this network? a wrong HF_ENDPOINT?)."
        )
    return first_line(error)


def _refusal(error: Exception) -> str:
    """What the hub's status code says, in words."""
    code = getattr(getattr(error, "response", None), "status_code", 0)
    if code == 401:
        return "the hub does not accept your token (401); log in anew with `hf auth login`, or unset HF_TOKEN."
    if code == 403:
        return "the hub forbids it (403); your token has no right to it."
    if code == 404:
        return "the hub lacks a file that it lists (404)."
    if code == 429:
        return "the hub has been asked too often (429); wait some minutes and run this again."
    if code >= 500:
        return f"the hub is out of order ({code}); run this again later."
    return first_line(error)
