"""A model from the hub: only the files that are needed, the space checked first, a broken download taken up again.

huggingface_hub throws a half downloaded file away when its process ends. So the big files are fetched here, into the
hub's own cache and under its names; the small ones, the links and the bookkeeping are left to huggingface_hub.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sys
from pathlib import Path

from .models import HUB_FILES, ModelError, check_folder, check_names

#: The revisions that `load()` takes where none is named; many public projects name these commits, too.
PINNED = {
    "CompVis/stable-diffusion-v1-4": "133a221b8aa7292a167afc5127cb63fb5005638b",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
}
_SPARE = 64 * 2**20  # bytes that a download leaves free on the disk


def from_hub(name: str, revision: str | None = None, *, seconds: float = 10.0) -> Path:
    """The folder of a hub id: from the cache without asking the network if all is there, else downloaded.

    `seconds` is how long the hub may take to answer. Raises ModelError, with one sentence, where it cannot be had.
    """
    import huggingface_hub as hub

    revision = revision or PINNED.get(name)
    wanted = {"repo_id": name, "revision": revision, **HUB_FILES}
    with contextlib.suppress(OSError, ModelError):  # not cached, or not whole: ask the network
        return check_folder(Path(hub.snapshot_download(**wanted, local_files_only=True)))
    if hub.constants.HF_HUB_OFFLINE:
        raise ModelError(
            f"There is no folder {name}; as a hub id it is not (wholly) in the local cache, and HF_HUB_OFFLINE forbids "
            "the network."
        )
    info = None
    try:
        # snapshot_download would wait without end for a server that says nothing: ask first, with a limit
        info = hub.HfApi().repo_info(name, revision=revision, files_metadata=True, timeout=seconds)
        _fetch_weights(name, info)
        folder = Path(hub.snapshot_download(**wanted, etag_timeout=seconds))
    except ModelError:
        raise
    except Exception as error:  # the hub's own errors, the HTTP client's, OSError for a full disk ...
        reason = _reason(error, revision, begun=info is not None)
        raise ModelError(f"There is no folder {name}, and as a hub id it cannot be loaded: {reason}") from error
    return check_folder(folder)


def _fetch_weights(name: str, info) -> None:
    """Bring the big files of a repository into the cache, each whole or not at all; raises ModelError.

    `info` is the hub's ModelInfo with the files' sizes. Nothing is downloaded where the repository holds no Stable
    Diffusion or the disk has no room for it.
    """
    import huggingface_hub as hub

    check_names(name, {file.rfilename for file in info.siblings})
    files = list(hub.utils.filter_repo_objects(info.siblings, **HUB_FILES, key=lambda file: file.rfilename))
    home = _home(name)
    lost = [file for file in files if not _is_there(home, file, info.sha)]
    _check_space(name, home, lost)
    if lost:
        size = _amount(sum(file.size or 0 for file in lost))
        print(f"sdlesson: downloading {name}: {len(lost)} files, {size}, to {home}", file=sys.stderr, flush=True)
    for file in lost:
        if file.lfs:
            url = hub.hf_hub_url(name, file.rfilename, revision=info.sha)
            _fetch(url, file.rfilename, home, file.lfs.sha256, file.size)


def _fetch(url: str, name: str, home: Path, sha256: str, size: int) -> None:
    """Download one file to `home`/blobs/`sha256`, from where an earlier try of it broke off.

    Until it is whole and its checksum right, it has another name. Raises ModelError.
    """
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock, build_hf_headers

    blob = home / "blobs" / sha256
    part = _part(home, sha256)
    lock = home.parent / ".locks" / home.name / f"{sha256}.lock"  # the hub's own: no two processes fetch one file
    for folder in (blob.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if blob.exists() and blob.stat().st_size == size:
            return
        blob.unlink(missing_ok=True)
        if part.exists() and part.stat().st_size > size:
            part.unlink()
        try:
            with open(part, "ab") as stream:
                start = stream.tell()
                http_get(url, stream, resume_size=start, headers=build_hf_headers(), expected_size=size)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                part.unlink(missing_ok=True)
            raise
        if _sha256(part) != sha256:
            part.unlink()
            raise ModelError(f"{name} was damaged on its way from the hub and is deleted; run this again.")
        os.replace(part, blob)


def _home(name: str) -> Path:
    """Where the hub's cache keeps the model `name`: blobs (by checksum), snapshots (links to them) and refs."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE).expanduser().resolve() / repo_folder_name(repo_id=name, repo_type="model")


def _part(home: Path, sha256: str) -> Path:
    return home / "blobs" / f"{sha256}.sdlesson.incomplete"


def _is_there(home: Path, file, commit: str) -> bool:
    """Is this file of the repository in the cache, with its full size?"""
    places = [home / "snapshots" / commit / file.rfilename]
    places += [home / "blobs" / file.lfs.sha256] if file.lfs else []
    sizes = {place.stat().st_size for place in places if place.exists()}
    return file.size in sizes if file.size is not None else bool(sizes)


def _check_space(name: str, home: Path, files: list) -> None:
    """Raise ModelError unless the disk has room for what is still to come of `files`."""
    parts = [_part(home, file.lfs.sha256) for file in files if file.lfs]
    done = sum(part.stat().st_size for part in parts if part.exists())
    needed = sum(file.size or 0 for file in files) - done
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free < needed + _SPARE:
        raise ModelError(
            f"The download of {name} needs {_amount(needed)} more on the disk of {home.parent}, which has "
            f"{_amount(free)} free; make room, or name a folder on another disk in HF_HOME."
        )


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _amount(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _reason(error: Exception, revision: str | None, begun: bool) -> str:
    """Why the hub or the way to it refused, in words."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "GatedRepoError" in kinds:
        return "its owner asks you to log in and accept the licence on the hub first."
    if "RepositoryNotFoundError" in kinds:
        return "the hub has no such model, or it is private."
    if "RevisionNotFoundError" in kinds:
        return f"the hub has no revision {revision!r} of it."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full; what had come of the file is deleted."
    if "HfHubHTTPError" not in kinds and kinds & {"TransportError", "ConnectionError", "LocalEntryNotFoundError"}:
        if begun:
            return "the download broke off; run this again, and it goes on from there."
        return "the hub cannot be reached (no network?), and it is not in the local cache."
    if str(error).startswith("Consistency check failed"):
        return "the download broke off; run this again, and it goes on from there."
    if isinstance(error, OSError) and error.errno and error.filename:
        return f"{error.filename} cannot be written: {error.strerror}."
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
