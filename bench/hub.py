"""A room on one server: learners who run a lesson at once on the real hub; waits, outputs and memory of each.

    make bench-hub                                   8 learners on the lesson about guidance, 20 to 60 s between cells:
                                                     about 35 minutes
    make bench-hub ARGS="--think 3 9"                the same, thinking faster: about 9 minutes
    make bench-hub ARGS="--learners 2 --think 0 1"   a first look: some 4 minutes

First one learner runs the lesson alone, then all of them. Each logs in with a password, starts a server, has
nbgitpuller bring the lessons, and runs the cells one by one through the server's API and a WebSocket. The wait of a
cell is the time from sending it to the kernel's word that it is idle again. Memory is PSS: pages that several
processes share are counted once, split among them; a learner's is that of their server and kernel after the last cell.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import nbformat
import psutil
import requests
import websocket

ROOT = Path(__file__).resolve().parent.parent
CLASSROOM = ROOT / "classroom"
sys.path.insert(0, str(CLASSROOM))

import publish  # noqa: E402
import seats  # noqa: E402

LESSON = "06_guidance.ipynb"
PASSED_ON = ("PATH", "LANG", "PYTHONPATH", "HOME")


class Refused(Exception):
    """The hub or a server did not do as it was asked; the message says what it answered."""


def answered(reply: requests.Response, *allowed: int) -> requests.Response:
    """The reply, if its status is an allowed one (200 to 299 if none is named); raises Refused otherwise."""
    if reply.status_code not in allowed if allowed else not reply.ok:
        raise Refused(f"{reply.request.method} {urlparse(reply.url).path}: {reply.status_code} {reply.text[:200]}")
    return reply


def free_ports(count: int) -> list[int]:
    """Ports of this machine on which nobody listens."""
    with contextlib.ExitStack() as closing:
        sockets = [closing.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextlib.contextmanager
def hub(
    room: Path, log: Path, *, ports: list[int] | None = None, within: tuple[str, ...] = (), **settings: str
) -> Iterator[str]:
    """The hub of classroom/ on the folder `room`, on ports of loopback; its address. It ends with all servers.

    `within`: a command that is given the hub's own; `settings`: what else it finds in its environment. Raises Refused
    where the hub ends as it begins, or is not there in five minutes.
    """
    outer, inner, proxy = ports or free_ports(3)
    own = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    own["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), own.get("PATH", os.defpath)])
    own |= {"SDLESSON_ROOM": str(room), "SDLESSON_PORT": str(outer)}
    own |= {"SDLESSON_HUB_PORT": str(inner), "SDLESSON_PROXY_PORT": str(proxy)}
    own |= settings
    command = [sys.executable, "-m", "jupyterhub", "-f", str(CLASSROOM / "jupyterhub_config.py")]
    (room / "nursery.sock").unlink(missing_ok=True)
    with log.open("wb") as stream:
        process = subprocess.Popen([*within, *command], env=own, cwd=room, stdout=stream, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 300  # a busy machine
        while not (answers(f"http://127.0.0.1:{outer}/hub/api/") and (room / "nursery.sock").exists()):
            if process.poll() is not None or time.monotonic() > end:
                raise Refused(f"The hub did not begin:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{outer}"
    finally:
        process.terminate()
        process.wait(timeout=120)


def answers(address: str) -> bool:
    """Whether a server answers there, and well."""
    with contextlib.suppress(requests.RequestException):
        return requests.get(address, timeout=5).ok
    return False


class Learner:
    """A learner's browser, as far as it talks with the hub and with the learner's server."""

    def __init__(self, address: str, name: str, password: str):
        """Log in; raises Refused for a wrong password."""
        self.address, self.name, self.http = address, name, requests.Session()
        self.http.get(f"{address}/hub/login")
        form = {"username": name, "password": password, "_xsrf": self.http.cookies.get("_xsrf", path="/hub/")}
        answered(self.http.post(f"{address}/hub/login", data=form, allow_redirects=False), 302)
        self.http.headers["X-XSRFToken"] = self.http.cookies.get("_xsrf", path="/hub/")
        self.http.headers["Referer"] = f"{address}/hub/home"
        made = answered(self.http.post(f"{address}/hub/api/users/{name}/tokens", json={"note": "bench"}))
        self.token = made.json()["token"]
        self.api = requests.Session()
        self.api.headers["Authorization"] = f"token {self.token}"

    def url(self, path: str, of: str | None = None) -> str:
        return f"{self.address}/user/{of or self.name}/{path}"

    def start(self, seconds: float = 180) -> None:
        """Start the learner's server and wait until it answers."""
        about, end, asked = f"{self.address}/hub/api/users/{self.name}", time.monotonic() + seconds, False
        while not self.api.get(about).json()["servers"].get("", {}).get("ready"):
            if time.monotonic() > end:
                raise Refused(f"The server of {self.name} is not there after {seconds:.0f} s.")
            # 400: a hub that has begun again looks at first whether an old server is still there
            asked = asked or answered(self.api.post(f"{about}/server"), 201, 202, 400).status_code != 400
            time.sleep(0.2)

    def pull(self) -> None:
        """Have nbgitpuller bring the lessons, as the page does that a learner comes to first."""
        first = answered(self.api.get(self.url(""), allow_redirects=False), 302).headers["Location"]
        asked = {key: value[0] for key, value in parse_qs(urlparse(first).query).items()}
        asked = {key: asked[key] for key in ("repo", "branch", "targetpath")}
        said = answered(self.api.get(self.url("git-pull/api"), params=asked)).text
        if '"phase": "finished"' not in said:
            raise Refused(f"The lessons did not come to {self.name}: {said[-500:]}")

    def open(self, notebook: str) -> Kernel:
        """A kernel for a notebook of the learner's."""
        kind = {"path": notebook, "name": notebook, "type": "notebook", "kernel": {"name": "python3"}}
        made = answered(self.api.post(self.url("api/sessions"), json=kind)).json()
        address = self.url(f"api/kernels/{made['kernel']['id']}/channels").replace("http", "ws", 1)
        return Kernel(address, self.token)


class Kernel:
    """A running kernel behind its WebSocket."""

    def __init__(self, address: str, token: str):
        header = [f"Authorization: token {token}"]
        self.socket = websocket.create_connection(address, header=header, timeout=600)
        self.session = uuid.uuid4().hex

    def run(self, code: str) -> tuple[list[dict], float]:
        """The outputs of a cell, and the seconds until the kernel was idle again."""
        header = {"msg_id": uuid.uuid4().hex, "username": "", "session": self.session, "version": "5.3"}
        header |= {"msg_type": "execute_request", "date": ""}
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        begun, outputs = time.perf_counter(), []
        self.socket.send(json.dumps(message | {"buffers": []}))
        while True:
            came = self.socket.recv()
            if not isinstance(came, str):  # what widgets say with buffers: no output
                continue
            said = json.loads(came)
            if said["parent_header"].get("msg_id") != header["msg_id"] or said["channel"] != "iopub":
                continue
            kind, content = said["header"]["msg_type"], said["content"]
            if kind in ("stream", "display_data", "execute_result", "error"):
                outputs.append({"output_type": kind, **content})
            elif kind == "status" and content["execution_state"] == "idle":
                return outputs, time.perf_counter() - begun

    def pause(self, seconds: float) -> None:
        """Do nothing, but answer the server's pings, as a browser does."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(min(left, 1))  # each ping, twice a minute, begins it anew
            with contextlib.suppress(websocket.WebSocketTimeoutException):
                self.socket.recv()
        self.socket.settimeout(600)


def text(outputs: list[dict]) -> list[str]:
    """What of a cell's outputs is compared, as `make test` does: what was printed, and the words of all else."""
    printed = "".join("".join(each["text"]) for each in outputs if each.get("name") == "stdout")
    words = ["".join(each["data"].get("text/plain", "")) for each in outputs if "data" in each]
    return [printed, *words, *(each["evalue"] for each in outputs if each["output_type"] == "error")]


def pss(processes: list[psutil.Process]) -> int:
    """The bytes of these processes, each shared page split among all who share it."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError):
            rolled = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            total += 1024 * int(re.search(r"^Pss:\s+(\d+)", rolled, flags=re.M)[1])
    return total


def family(name: str) -> list[psutil.Process]:
    """The processes of a learner's server, without kernels from the nursery, which keep its first environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, KeyError):
            if process.environ()["JUPYTERHUB_USER"] == name:
                found.append(process)
    return found


def lesson(learner: Learner, name: str, think: tuple[float, float], seed: int, go: threading.Barrier) -> dict:
    """Run the lesson cell by cell, with pauses; the waits, the cells whose text is not the stored one, and memory."""
    stored = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    cells = [cell for cell in stored.cells if cell.cell_type == "code" and cell.source.strip()]
    chance, waits, wrong = random.Random(seed), [], []
    learner.start()
    learner.pull()
    kernel = learner.open(f"lessons/{name}")
    go.wait(timeout=600)
    for number, cell in enumerate(cells, 1):
        kernel.pause(chance.uniform(*think))
        outputs, seconds = kernel.run(cell.source)
        waits.append(seconds)
        if text(outputs) != text(cell.outputs):
            wrong.append(number)
    process = psutil.Process(int(text(kernel.run("import os; print(os.getpid())")[0])[0]))
    go.wait(timeout=3600)  # memory counts while all are there
    processes = family(learner.name)
    used = pss([*processes, *([] if process in processes else [process])])
    go.wait(timeout=600)
    return {"waits": waits, "wrong": wrong, "pss": used}


def together(room: Path, names: dict[str, str], think: tuple[float, float], name: str) -> list[dict]:
    """All learners run the lesson at once on a new hub; what came of each."""
    go = threading.Barrier(len(names))
    with hub(room, room / "hub.log") as address, ThreadPoolExecutor(len(names)) as pool:
        learners = [Learner(address, *each) for each in names.items()]
        running = [pool.submit(lesson, each, name, think, seed, go) for seed, each in enumerate(learners)]
        for each in running:
            each.add_done_callback(lambda done: go.abort() if done.exception() else None)
        wait(running)
        failed = [each.exception() for each in running if each.exception()]
        if failed:  # the others have waited in vain
            raise next((each for each in failed if not isinstance(each, threading.BrokenBarrierError)), failed[0])
        results = [each.result() for each in running]
        print(f"{len(names)} learner(s): hub, proxy, nursery take {own_memory(names) / 2**20:.0f} MiB", flush=True)
        return results


def own_memory(names: dict[str, str]) -> int:
    """What the hub takes itself, with its proxy and the nursery, which holds its share of what the kernels share."""
    (running,) = [each for each in psutil.Process().children() if "jupyterhub" in each.cmdline()]
    learners = {process.pid for name in names for process in family(name)}
    return pss([running, *(each for each in running.children() if each.pid not in learners)])


def p95(waits: list[float]) -> float:
    return statistics.quantiles(waits, n=20, method="inclusive")[-1]


def table(alone: list[dict], all_: list[dict]) -> str:
    """The table that is printed: one learner alone, and all of them."""
    single = p95([wait for each in alone for wait in each["waits"]])
    names = (("learners", 8), ("cells", 6), ("wrong", 6), ("median s", 9), ("p95 s", 7), ("x one", 6))
    lines = [" ".join(f"{name:>{width}}" for name, width in (*names, ("PSS MiB: mean", 14), ("most", 6)))]
    for group in (alone, all_):
        waits = [wait for each in group for wait in each["waits"]]
        memory = [each["pss"] / 2**20 for each in group]
        lines.append(
            f"{len(group):>8} {len(waits):>6} {sum(len(each['wrong']) for each in group):>6} "
            f"{statistics.median(waits):>9.2f} {p95(waits):>7.2f} {p95(waits) / single:>6.2f} "
            f"{statistics.mean(memory):>14.0f} {max(memory):>6.0f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learners", type=int, default=8)
    parser.add_argument("--think", type=float, nargs=2, default=(20, 60), metavar=("FROM", "TO"), help="seconds")
    parser.add_argument("--lesson", default=LESSON)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        names = seats.give(room, [f"learner{number}" for number in range(args.learners)])
        names.pop(seats.TEACHER)
        publish.main(room)
        print(
            f"{os.cpu_count()} cores, {args.lesson}, {args.think[0]:g} to {args.think[1]:g} s between cells", flush=True
        )
        alone = together(room, dict(list(names.items())[:1]), (0, 0), args.lesson)
        began = time.perf_counter()
        all_ = together(room, names, tuple(args.think), args.lesson)
        print(table(alone, all_))
        print(f"all finished after {(time.perf_counter() - began) / 60:.1f} minutes")
        wrong = {number: each["wrong"] for number, each in enumerate(all_) if each["wrong"]}
        if wrong:
            sys.exit(f"Cells whose text is not the stored one, by learner: {wrong}")


if __name__ == "__main__":
    main()
