"""A sweep: its pictures painted by Dask's workers, on this machine or on many, each written as it comes."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from ..loading import checks
from ..loading.errors import BadInput, first_line, listed, say
from ..loading.writing import check_writable
from . import plan, table, worker

if TYPE_CHECKING:
    import pyarrow
    from distributed import Client

_PATIENCE = 30  # seconds until a scheduler must have answered and have a worker
_EVERY = 10.0  # seconds between two writes of the unfinished table
_LOSSES = 3  # workers that may die over one picture before it is the picture's fault


def sweep(
    prompts: str | Sequence[str],
    seeds: int | Iterable[int] = 42,
    guidance_scales: float | Iterable[float] | None = None,
    steps: int | Iterable[int] = 20,
    samplers: str | Iterable[str] = "lms",
    *,
    into: str | os.PathLike,
    negative_prompt: str = "",
    model: str | None = None,
    revision: str | None = None,
    dtype: str | None = None,
    workers: int | None = None,
    threads: int = 1,
    scheduler: str | None = None,
    dashboard: bool = False,
) -> pyarrow.Table:
    """Paint every combination of the given values into the folder `into`; returns the table of all of them.

    `into/pictures` gets one PNG for each picture as it comes, `into/table.parquet` one row each (`table.COLUMNS`). What
    is there already is not painted again, so a sweep that was cut off goes on, and one with more values adds to it; the
    table has the pictures of this call, `into/pictures` those of all.
    `samplers` are names of `plan.SAMPLERS`, on the levels of `sigmas.schedule`; `guidance_scales` None is the model's
    own. `workers` processes of this machine paint (default: one for each core that `threads` leaves), each with a copy
    of the model; or, with the address of a Dask `scheduler`, the workers that it has, wherever they are: they need
    sdlesson and the model, no common disk. Whoever reaches such a scheduler can run code on its workers, unless it was
    started with Dask's TLS. A worker that is lost costs the pictures it was painting, which others paint
    again. The same settings give the same bits on processors of one kind. In a script, call it under
    `if __name__ == "__main__":`. Raises BadInput or ModelError before anything is painted, and where a picture cannot
    be; what was painted until then stays.
    """
    _check_installed()
    kept, own_scale = plan.model_of(model, revision, dtype, threads)
    scales = own_scale if guidance_scales is None else guidance_scales
    wanted = {plan.name_of(each, kept): each for each in plan.pictures(
        prompts, seeds, scales, steps, samplers, negative_prompt)}  # fmt: skip
    if workers is not None:
        checks.whole(workers, "number of workers", 1)
    folder = _folder(into)
    with _alone(folder):
        rows = {name: table.read_row(folder / table.PICTURES / name) for name in wanted}
        missing = {name: each for name, each in wanted.items() if rows[name] is None}
        if missing:
            with _client(scheduler, workers or _cores(threads), len(missing), dashboard) as client:
                _paint(client, missing, rows, kept, folder, os.fspath(model or kept.name))
        return table.write([row for row in rows.values() if row], folder)


def _paint(client: Client, missing: dict, rows: dict, kept: plan.Model, folder: Path, model: str) -> None:
    """Paint what is `missing`, write each picture as it comes, and note its row in `rows`."""
    from distributed import KilledWorker, as_completed

    from ..decoding import save_png

    futures = {
        client.submit(worker.paint, each, kept, key=f"sdlesson-{name}", pure=True, retries=0): name
        for name, each in missing.items()
    }
    done, written = as_completed(futures, with_results=True, raise_errors=False), time.monotonic()
    said: set[str] = set()
    kinds: dict[str, None] = {}
    try:
        with tqdm(total=len(rows), initial=len(rows) - len(missing), unit="picture", disable=None) as bar:
            for future, found in done:
                name = futures.pop(future)
                if future.status in ("cancelled", "lost"):
                    raise BadInput("The scheduler was lost; start the sweep again, and it goes on.")
                if future.status != "finished":
                    raise future.exception()
                picture, calls, score, warned, kind = found
                row = table.row_of(missing[name], calls, score, model, name)
                save_png(picture, folder / table.PICTURES / name, row)
                rows[name] = row
                kinds.setdefault(kind)
                if len(kinds) > 1:
                    warned.append(f"the workers differ ({'; '.join(kinds)}), and so may last digits")
                for sentence in [each for each in warned if each not in said]:
                    said.add(sentence)
                    _warn(sentence)
                future.release()  # the scheduler forgets it, and the worker frees its picture
                bar.update()
                if time.monotonic() - written > _EVERY:
                    table.write([row for row in rows.values() if row], folder)
                    written = time.monotonic()
    except KilledWorker:
        raise BadInput(
            f"{_LOSSES} workers died while they painted {missing[name].prompt!r}, seed {missing[name].seed}: is there "
            "memory enough for so many?"
        ) from None
    finally:
        client.cancel(list(futures))


@contextlib.contextmanager
def _client(scheduler: str | None, workers: int, pictures: int, dashboard: bool) -> Iterator[Client]:
    """Dask's client of a cluster that lives as long as the `with`, or of the given scheduler's."""
    import dask
    from distributed import Client, LocalCluster

    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": _LOSSES}))
        try:
            if scheduler is None:
                port = "127.0.0.1:8787" if dashboard else "127.0.0.1:0"
                count = min(workers, pictures)
                cluster = LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    dashboard_address=port,
                    silence_logs=50,
                    host="127.0.0.1",
                    memory_limit=0,
                    security=True,  # TLS: without it, whoever is on this machine could have the workers run any code
                )
                client = stack.enter_context(Client(stack.enter_context(cluster)))
            else:
                client = stack.enter_context(Client(scheduler, timeout=_PATIENCE))
                client.wait_for_workers(1, timeout=_PATIENCE)
        except (OSError, TimeoutError, ValueError) as error:
            where = f"at {scheduler}" if scheduler else "on this machine"
            raise BadInput(f"No workers answer {where}: {first_line(error)}") from None
        if dashboard:
            say(f"Dashboard: {client.dashboard_link}", error=True)
        yield client


def _warn(sentence: str) -> None:
    tqdm.write(f"sdlesson: warning: {sentence}", file=sys.stderr)  # above the bar


def _folder(into) -> Path:
    """The sweep's folder, made if need be; raises BadInput where it cannot be written to."""
    folder = checks.path(into)
    try:
        (folder / table.PICTURES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{folder} cannot be made: {error.strerror or error}.") from None
    for file in (folder / table.TABLE, folder / table.PICTURES / "probe.png"):
        check_writable(file)
    return folder


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that no second sweep paints into it; a kill frees it."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BadInput(f"Another sweep is painting into {folder}.") from None
    except OSError as error:
        raise BadInput(f"{lock.lock_file} cannot be written: {error.strerror}.") from None
    try:
        yield
    finally:
        lock.release()


def _cores(threads: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // threads)


def _check_installed() -> None:
    from importlib.util import find_spec

    if missing := [name for name in ("distributed", "pyarrow", "cryptography") if find_spec(name) is None]:
        raise BadInput(
            f"A sweep needs {listed(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            'in the clone, python -m pip install -c constraints.txt -e ".[sweep]".'
        )
