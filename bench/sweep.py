"""A sweep of 200 pictures: one worker against two, a worker killed half-way, the sweep killed and begun again.

    make bench-sweep                    some minutes
    make bench-sweep ARGS="--seeds 5"   shorter

Every line prints what was measured in this run. Each picture is painted by one thread. The disturbed sweeps must end
with the very bits of the first: the table's file and every picture's.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

import sdlesson
from sdlesson.sweeps import report, table

PROMPTS = ["a photograph of an astronaut riding a horse", "a drawing of a robot riding a bicycle in the snow"]


def sweep(into: Path, seeds: int, workers: int) -> None:
    """The sweep that all lines are about: 2 prompts x seeds x 2 step counts x 2 samplers."""
    sdlesson.sweep(PROMPTS, range(seeds), 3.0, [10, 20], ["lms", "dpmpp_2m"], into=into, model="tiny", workers=workers)


def bits(folder: Path) -> dict[str, bytes]:
    """The bytes of the table and of all pictures."""
    return {path.name: path.read_bytes() for path in [folder / table.TABLE, *(folder / table.PICTURES).iterdir()]}


def count(folder: Path) -> int:
    """How many pictures are there."""
    return len(list((folder / table.PICTURES).glob("*.png")))


def painting(folder: Path, seeds: int, workers: int) -> tuple[float, float]:
    """Seconds from the first picture to the last, and of all; the first waits for the workers' imports."""
    first, begun = [], time.perf_counter()

    def watch():
        while not count(folder):
            time.sleep(0.01)
        first.append(time.perf_counter())

    (folder / table.PICTURES).mkdir(parents=True)
    threading.Thread(target=watch, daemon=True).start()
    sweep(folder, seeds, workers)
    return time.perf_counter() - first[0], time.perf_counter() - begun


def kill_a_worker(folder: Path, at: int) -> None:
    """Wait for `at` pictures, then kill the worker that has computed most."""
    while count(folder) < at:
        time.sleep(0.01)
    children = psutil.Process().children(recursive=True)
    workers = [each for each in children if "spawn_main" in " ".join(each.cmdline())]
    max(workers, key=lambda each: sum(each.cpu_times()[:2])).kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=25, help="25 make 200 pictures")
    seeds = parser.parse_args().seeds
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        speeds = {}
        for workers in (1, 2):
            steady, whole = painting(home / f"{workers}", seeds, workers)
            number = count(home / f"{workers}")
            speeds[workers] = (number - 1) / steady
            print(
                f"{workers} worker(s): {number} pictures, {speeds[workers]:.2f} a second, {whole:.0f} s with the start"
            )
        print(f"two workers paint {speeds[2] / speeds[1]:.2f} times as fast as one")
        first, number = bits(home / "1"), count(home / "1")
        print(f"one and two workers: {'the same bits' if first == bits(home / '2') else 'DIFFERENT'}")

        killer = threading.Thread(target=kill_a_worker, args=(home / "lost", number // 2))
        killer.start()
        sweep(home / "lost", seeds, 2)
        killer.join()
        print(f"a worker killed at {number // 2}: {'the same bits' if first == bits(home / 'lost') else 'DIFFERENT'}")

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
        print(f"all killed at {left}, begun again: {'the same bits' if first == bits(home / 'cut') else 'DIFFERENT'}")
        begun = time.perf_counter()
        report.write_report(home / "1")
        print(f"report: {time.perf_counter() - begun:.1f} s")
        sys.exit(any(bits(home / name) != first for name in ("2", "lost", "cut")))


if __name__ == "__main__":
    main()
