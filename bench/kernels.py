"""Several lessons at once: seconds of the first lesson's loop in 1, 2, 4 and 6 kernels, by how idle threads wait.

    make bench-kernels                      as the libraries come, and with OMP_WAIT_POLICY=PASSIVE, as `make lab` does
    make bench-kernels ARGS="--ways all"    other settings, too

Each kernel is a real one, and runs the first lesson's cells up to its loop; then all run the loop at once.
Printed are the median and the largest seconds of a loop, the seconds for which processors were busy with it, and the
median's ratio to the libraries' own way.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import tempfile
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path

import nbformat
from ipykernel.kernelspec import write_kernel_spec
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

LESSON = Path(__file__).resolve().parent.parent / "notebooks" / "00_one_page.ipynb"
LOOP = "for t in tqdm(scheduler.timesteps):"
CLOCKED = """import time
_began = time.perf_counter(), time.process_time()
{loop}
_seconds = time.perf_counter() - _began[0], time.process_time() - _began[1]"""
OWN = "as the libraries come"
WAYS = {
    OWN: {},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
    "GOMP_SPINCOUNT=0": {"GOMP_SPINCOUNT": "0"},
    "KMP_BLOCKTIME=0": {"KMP_BLOCKTIME": "0"},
    "OMP_NUM_THREADS=1": {"OMP_NUM_THREADS": "1"},
    "OMP_NUM_THREADS=2": {"OMP_NUM_THREADS": "2"},
    "PASSIVE, 1 thread": {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"},
}


def cells() -> tuple[str, str]:
    """The first lesson up to its loop, figures left out, and the loop, with a clock around it."""
    sources = [cell.source for cell in nbformat.read(LESSON, as_version=4).cells if cell.cell_type == "code"]
    place = next(number for number, source in enumerate(sources) if LOOP in source)
    before = (line for source in sources[:place] for line in source.splitlines() if not line.startswith("figure_"))
    return "\n".join(before), CLOCKED.format(loop=sources[place])


@contextlib.contextmanager
def kernels(count: int, settings: dict[str, str]) -> Iterator[list]:
    """Clients of `count` running kernels with these variables in their environment, and none of the same kind."""
    kind = ("OMP_", "GOMP_", "KMP_", "MKL_", "SDLESSON_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(kind)}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as ends:
        write_kernel_spec(Path(folder) / "python3", overrides={"env": settings})
        specs = KernelSpecManager(kernel_dirs=[folder], ensure_native_kernel=False)
        managers = [KernelManager(kernel_name="python3", kernel_spec_manager=specs) for _ in range(count)]
        for manager in managers:
            manager.start_kernel(env=clean | {"HF_HUB_OFFLINE": "1"}, cwd=folder, stderr=subprocess.DEVNULL)
            ends.callback(manager.shutdown_kernel, now=True)
        clients = [manager.client() for manager in managers]
        for client in clients:
            client.start_channels()
            ends.callback(client.stop_channels)
            client.wait_for_ready(timeout=120)
        yield clients


def run(clients: list, code: str, result: str = "None") -> list:
    """Run `code` in all kernels at the same moment; the values of the expression `result` in each."""
    asked = [client.execute(code, user_expressions={"result": result}) for client in clients]
    replies = [reply(client, message) for client, message in zip(clients, asked, strict=True)]
    return [literal_eval(each["user_expressions"]["result"]["data"]["text/plain"]) for each in replies]


def reply(client, asked: str) -> dict:
    """What the kernel says at the end of the cell that was sent as message `asked`."""
    while (message := client.get_shell_msg(timeout=600))["parent_header"].get("msg_id") != asked:
        pass
    if message["content"]["status"] != "ok":
        raise RuntimeError("\n".join(message["content"]["traceback"]))
    return message["content"]


def seconds(count: int, settings: dict[str, str], times: int) -> list[tuple[float, float]]:
    """Seconds and processor seconds of `times` loops in each of `count` kernels; a first loop is not counted."""
    before, loop = cells()
    with kernels(count, settings) as clients:
        for client in clients:
            run([client], before)
        run(clients, loop)
        return [each for _ in range(times) for each in run(clients, loop, "_seconds")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4, 6], help="kernels at once")
    parser.add_argument("--times", type=int, default=3, help="loops in each kernel")
    parser.add_argument("--ways", nargs="+", choices=[*WAYS, "all"], default=list(WAYS)[:2])
    args = parser.parse_args()
    ways = list(WAYS) if "all" in args.ways else args.ways
    print(f"{os.cpu_count()} cores; seconds of one loop: median, largest, and of processors (median)")
    for count in args.counts:
        medians = {}
        for way in ways:
            took, worked = zip(*seconds(count, WAYS[way], args.times), strict=True)
            medians[way], busy = statistics.median(took), statistics.median(worked)
            ratio = f"   ratio {medians[way] / medians[OWN]:5.2f}" if OWN in medians and way != OWN else ""
            print(f"{count} kernels   {way:<25} {medians[way]:7.2f} {max(took):7.2f} {busy:7.2f}{ratio}", flush=True)


if __name__ == "__main__":
    main()
