"""A sweep of 200 pictures: one worker against two, a worker killed half-way, the sweep killed and begun again.

    make bench-sweep                    some minutes
    make bench-sweep ARGS="--seeds 5"   shorter

Every line prints what was measured in this run. Each picture is painted by one thread. The disturbed sweeps must end
with the very bits of the first: the table's file and every picture's.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

import sdlesson
from sdlesson.sweeps import report, table

PROMPTS = ["a photograph of an astronaut riding a horse", "a drawing of a robot riding a bicycle in the snow"]


def sweep(into: Path, seeds: int, workers: int | None = None, scheduler: str | None = None) -> None:
    """The sweep that all lines are about: 2 prompts x seeds x 2 step counts x 2 samplers."""
    settings = {"model": "tiny", "workers": workers, "scheduler": scheduler}
    sdlesson.sweep(PROMPTS, range(seeds), 3.0, [10, 20], ["lms", "dpmpp_2m"], into=into, **settings)


def bits(folder: Path) -> dict[str, bytes]:
    """The bytes of the table and of all pictures."""
    return {path.name: path.read_bytes() for path in [folder / table.TABLE, *(folder / table.PICTURES).iterdir()]}


def count(folder: Path) -> int:
    """How many pictures are there."""
    return len([*(folder / table.PICTURES).glob("*.png")])


def painting(folder: Path, work: Callable[[Path], None]) -> tuple[float, float]:
    """Pictures a second from the first picture to the last, and seconds of all; the first waits for the imports."""
    first, begun = [], time.perf_counter()

    def watch():
        while not count(folder):
            time.sleep(0.01)
        first.append(time.perf_counter())

    (folder / table.PICTURES).mkdir(parents=True)
    threading.Thread(target=watch, daemon=True).start()
    work(folder)
    ended = time.perf_counter()
    return (count(folder) - 1) / (ended - first[0]), ended - begun


def with_a_kill(folder: Path, at: int, work: Callable[[Path], None]) -> None:
    """Sweep into the folder; at `at` pictures, the worker that has computed most is killed."""

    def kill():
        while count(folder) < at:
            time.sleep(0.01)
        children = psutil.Process().children(recursive=True)
        workers = [each for each in children if "spawn_main" in " ".join(each.cmdline())]
        max(workers, key=lambda each: sum(each.cpu_times()[:2])).kill()

    (folder / table.PICTURES).mkdir(parents=True)
    killer = threading.Thread(target=kill)
    killer.start()
    work(folder)
    killer.join()


def no_namespaces() -> str:
    """Why there can be no network of one's own here; empty if there can."""
    there = shutil.which("ip") and hasattr(os, "geteuid") and os.geteuid() == 0
    return "" if there else "not tried, as it needs Linux, the command ip and its administrator"


@contextlib.contextmanager
def two_namespaces(seeds: int) -> Iterator[Callable[[Path], None]]:
    """The sweep by one scheduler and two workers, each worker in a network of its own."""
    one, other = f"sdl{os.getpid()}a", f"sdl{os.getpid()}b"
    ours, theirs = "10.77.0.1", "10.77.0.2"
    running = []

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    def inside(place: str, *words: str) -> None:
        command = ["ip", "netns", "exec", place, sys.executable, "-m", *words]
        running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))

    try:
        ip("netns", "add", one)
        ip("netns", "add", other)
        ip("link", "add", "sdl0", "netns", one, "type", "veth", "peer", "name", "sdl1", "netns", other)
        for place, link, address in ((one, "sdl0", ours), (other, "sdl1", theirs)):
            ip("-n", place, "addr", "add", f"{address}/24", "dev", link)
            ip("-n", place, "link", "set", "lo", "up")
            ip("-n", place, "link", "set", link, "up")
        at = f"tcp://{ours}:8786"
        inside(one, "distributed.cli.dask_scheduler", "--host", ours, "--dashboard-address", "127.0.0.1:0")
        for place, address in ((one, ours), (other, theirs)):
            inside(place, "distributed.cli.dask_worker", at, "--host", address, "--nthreads", "1")

        def work(into: Path) -> None:
            code = "import sweep; from pathlib import Path; "
            code += f"sweep.sweep(Path({str(into)!r}), {seeds}, scheduler={at!r})"
            command = ["ip", "netns", "exec", one, sys.executable, "-c", code]
            subprocess.run(command, check=True, cwd=Path(__file__).parent)

        yield work
    finally:
        for each in running:
            each.terminate()
        for place in (one, other):
            subprocess.run(["ip", "netns", "del", place], check=False)


def told(first: dict[str, bytes], folder: Path) -> str:
    """Whether a sweep's files have the bits of the first one's."""
    return "the same bits" if first == bits(folder) else "DIFFERENT"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=25, help="25 make 200 pictures")
    seeds = parser.parse_args().seeds
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        speeds = {}
        for workers in (1, 2):
            speeds[workers], whole = painting(home / f"{workers}", lambda into, n=workers: sweep(into, seeds, n))
            number = count(home / f"{workers}")
            print(f"{workers} worker(s): {number} pictures, {speeds[workers]:.2f} a second, {whole:.0f} s in all")
        print(f"two workers paint {speeds[2] / speeds[1]:.2f} times as fast as one")
        first, number = bits(home / "1"), count(home / "1")
        print(f"one and two workers: {told(first, home / '2')}")

        with_a_kill(home / "lost", number // 2, lambda into: sweep(into, seeds, 2))
        print(f"a worker killed at {number // 2}: {told(first, home / 'lost')}")

        child = multiprocessing.get_context("spawn").Process(target=sweep, args=(home / "cut", seeds, 2))
        child.start()
        while count(home / "cut") < number // 2:
            time.sleep(0.01)
        family = [*psutil.Process(child.pid).children(recursive=True), psutil.Process(child.pid)]
        for each in family:
            os.kill(each.pid, signal.SIGKILL)
        child.join()
        left = count(home / "cut")
        sweep(home / "cut", seeds, 2)
        print(f"all killed at {left}, begun again: {told(first, home / 'cut')}")
        begun = time.perf_counter()
        report.write_report(home / "1")
        print(f"report: {time.perf_counter() - begun:.1f} s")
        if why := no_namespaces():
            print(f"workers in two network namespaces: {why}")
        else:
            with two_namespaces(seeds) as work:
                speed, _ = painting(home / "apart", work)
                print(f"two network namespaces: {speed / speeds[1]:.2f} times as fast, {told(first, home / 'apart')}")
                with_a_kill(home / "apart, lost", number // 2, work)
                print(f"there, a worker killed at {number // 2}: {told(first, home / 'apart, lost')}")
        swept = (folder for folder in home.iterdir() if folder.is_dir())
        sys.exit(any(bits(folder) != first for folder in swept))


if __name__ == "__main__":
    main()
