"""The room's hub itself: one start for all tests here, two learners who cannot reach each other, and their kernels."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "classroom"), str(ROOT / "bench")]
PROXY = ROOT / "classroom/node_modules/configurable-http-proxy"

pytest.importorskip("jupyterhub", reason='needs JupyterHub: pip install -e ".[hub]"')
requests = pytest.importorskip("requests", reason='needs requests: pip install -e ".[hub]"')
pytest.importorskip("firstuseauthenticator", reason='needs its authenticator: pip install -e ".[hub]"')
pytestmark = [
    pytest.mark.timeout(480),
    pytest.mark.skipif(sys.platform != "linux", reason="the room's hub runs on Linux"),
    pytest.mark.skipif(not PROXY.is_dir(), reason="needs the hub's proxy: npm ci in classroom/"),
]
as_root = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root gives learners ids of their own")

FEW = ["ipykernel.kernelapp", "ipykernel.ipkernel", "IPython", "numpy", "sdlesson"]  # of the nursery's: quick to import

#: Opens a closed folder for one command: in a view of its own of the file system, and nothing else of it.
OPENED = """
set -e
kept=$(mktemp -d)
mount --bind "$1" "$kept"
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir -p "$2"
mount --bind "$kept/${2#"$1"/}" "$2"
shift 2
exec "$@"
"""


def opening() -> tuple[str, ...]:
    """What lets learners, as other users, come to this Python, where it lies in a closed folder: in root's home."""
    python = Path(sys.executable).resolve()
    closed = [folder for folder in {*python.parents, *ROOT.parents, ROOT} if not folder.stat().st_mode & 1]
    if os.geteuid() != 0 or not closed:
        return ()
    first = min(closed)
    if ROOT.is_relative_to(first):
        pytest.skip(f"the project itself lies in {first}, which is closed to learners")
    command = ("unshare", "--mount", "sh", "-c", OPENED, "sh")
    if not shutil.which("unshare") or os.system("unshare --mount mount -t tmpfs tmpfs /mnt 2>/dev/null"):
        pytest.skip("this system lets no process have a view of its own of the file system")
    return (*command, str(first), str(first / python.relative_to(first).parts[0]))


class Room:
    """A running hub, its folder, and two learners who have come in; the first has a kernel of the nursery's."""

    def __init__(self, folder: Path, address: str, names: dict[str, str]):
        import hub

        self.folder, self.address, self.names = folder, address, names
        self.ada, self.emmy = (hub.Learner(address, name, names[name]) for name in ("ada", "emmy"))
        self.ada.start()
        self.ada.pull()
        self.kernel = self.ada.open("lessons/00_one_page.ipynb")

    def said(self, code: str) -> str:
        import hub

        return "".join(hub.text(self.kernel.run(code)[0]))

    def process(self) -> psutil.Process:
        """The process of the first learner's kernel."""
        return psutil.Process(int(self.said("import os; print(os.getpid())")))

    def server(self) -> psutil.Process:
        import hub

        mine = [each for each in hub.family("ada") if str(self.folder) in " ".join(each.cmdline())]
        (server,) = [each for each in mine if "jupyterhub.singleuser" in each.cmdline()]
        return server

    def nursery(self) -> psutil.Process:
        (nursery,) = [each for each in psutil.process_iter(["cmdline"]) if self.is_nursery(each)]
        return nursery

    def is_nursery(self, process: psutil.Process) -> bool:
        words = process.info["cmdline"] or []
        return (
            any(word.endswith("nursery.py") for word in words)
            and str(self.folder) in words
            and "jupyterhub" in " ".join(process.parent().cmdline())  # its kernels keep its command line
        )


@contextlib.contextmanager
def seated():
    """The folder of a room with two seats and the lessons, and the names with their passwords."""
    import publish
    import seats

    with tempfile.TemporaryDirectory() as folder:
        names = seats.give(Path(folder), ["ada", "emmy"])
        publish.main(Path(folder))
        yield Path(folder), names


@pytest.fixture(scope="module")
def room():
    import hub

    with seated() as (folder, names):
        with hub.hub(folder, folder / "hub.log", within=opening(), SDLESSON_LIBRARIES=" ".join(FEW)) as address:
            yield Room(folder, address, names)
        with pytest.raises(requests.ConnectionError):  # nothing is left, the proxy neither
            requests.get(address, timeout=5)


def test_lessons_come_and_a_kernel_of_the_nursery_with_calm_settings(room):
    lessons = room.ada.api.get(room.ada.url("api/contents/lessons")).json()["content"]
    assert "00_one_page.ipynb" in {each["name"] for each in lessons}
    assert room.said("import sys; print('sdlesson' in sys.modules, 'torch' in sys.modules)") == "True False\n"
    assert "nursery" in room.said("import os; print(open(f'/proc/{os.getppid()}/cmdline').read())")
    assert room.said("print(os.environ['OMP_WAIT_POLICY'], os.environ['HF_HUB_OFFLINE'])") == "PASSIVE 1\n"
    assert room.said("print('JUPYTERHUB_API_TOKEN' in open('/proc/self/environ').read())") == "False\n"  # the nursery's
    assert room.said("print(os.readlink('/proc/self/fd/0'), os.isatty(0))").startswith(("/dev/null", "pipe"))
    assert room.said("print(os.environ['OMP_NUM_THREADS'] in ('1', '2'))") == "True\n"


def test_more_memory_than_a_process_may_have_is_an_error_in_the_cell_and_the_kernel_lives(room):
    assert "Unable to allocate" in room.said("import numpy as np; x = np.ones(3 * 2**30, dtype=np.uint8)")
    assert room.said("print(np.ones(3).sum())") == "3.0\n"


@pytest.mark.parametrize("name", ["ada", "nobody-invited", "../ada", "Ärger"])
def test_nobody_comes_in_without_the_seats_password(room, name):
    import hub

    with pytest.raises(hub.Refused):
        hub.Learner(room.address, name, "a wrong password")


def test_learners_do_not_reach_each_other(room):
    for path in ("api/contents/lessons", "api/kernels", "api/sessions"):
        assert room.ada.api.get(room.ada.url(path)).status_code == 200
        assert room.emmy.api.get(room.ada.url(path), allow_redirects=False).status_code == 403
    assert room.emmy.api.get(f"{room.address}/hub/api/users/ada").status_code == 404


def test_the_teacher_stops_and_starts_servers_and_neither_opens_them_nor_adds_names(room):
    import hub

    teacher, users = hub.Learner(room.address, "teacher", room.names["teacher"]), f"{room.address}/hub/api/users"
    assert {"ada", "emmy"} <= {each["name"] for each in teacher.api.get(users).json()}
    assert teacher.http.get(f"{room.address}/hub/admin").status_code == 200
    assert teacher.api.post(f"{users}/grace").status_code == 403  # whoever came first would choose its password
    assert teacher.api.get(room.ada.url("api/contents/lessons"), allow_redirects=False).status_code == 403
    assert teacher.api.post(f"{room.address}/hub/api/shutdown").status_code == 403
    room.emmy.start()
    assert teacher.api.delete(f"{users}/emmy/server").status_code in (202, 204)


@as_root
def test_an_id_of_their_own_opens_neither_others_homes_nor_the_hubs_files(room):
    user = int(room.said("import os, sdlesson; print(os.getuid())"))
    assert user == (room.folder / "homes/ada").stat().st_uid >= 2_100_000_000
    assert room.said("print(os.getgroups())") == "[]\n"
    assert (room.folder / "homes/ada").stat().st_mode & 0o777 == 0o700
    kept = [room.folder / "hub.sqlite", room.folder / "cookie_secret", *room.folder.glob("passwords*")]
    assert len(kept) > 2
    tries = [f"open({str(path)!r})" for path in kept]
    tries += [f"open({str(room.folder / 'lessons.git/HEAD')!r}, 'a')", "open(sdlesson.__file__, 'a')", "os.setuid(0)"]
    said = room.said(f"for each in {tries!r}:\n    try: eval(each)\n    except PermissionError as error: print(error)")
    assert len(said.splitlines()) == len(tries), said


def test_a_cell_is_interrupted_and_a_kernel_restarted(room):
    address = room.ada.url("api/kernels")
    (number,) = [each["id"] for each in room.ada.api.get(address).json()]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            room.said, "import pathlib, time\nprint('begun')\npathlib.Path('sleeps').touch()\ntime.sleep(600)"
        )
        until = time.monotonic() + 60
        while not list(room.folder.rglob("sleeps")):  # what has not begun cannot be interrupted
            assert time.monotonic() < until
            time.sleep(0.1)
        assert room.ada.api.post(f"{address}/{number}/interrupt").status_code == 204
        assert "begun" in running.result(timeout=60) and room.said("print(1 + 1)") == "2\n"
    old = room.process()
    assert room.ada.api.post(f"{address}/{number}/restart").status_code == 200
    old.wait(timeout=30)
    room.kernel = room.ada.open("lessons/00_one_page.ipynb")
    assert "old" not in room.said("print(sorted(globals()))") and room.process().pid != old.pid


def test_a_kernel_ends_with_its_stand_in(room):
    import hub

    (number,) = [each["id"] for each in room.ada.api.get(room.ada.url("api/kernels")).json()]
    other = room.ada.open("lessons/01_tokens.ipynb")
    process = psutil.Process(int(hub.text(other.run("import os; print(os.getpid())")[0])[0]))
    commands = [(each, each.info["cmdline"] or [""]) for each in psutil.process_iter(["cmdline"])]
    ours = [(each, words[-1]) for each, words in commands if "-IS" in words and str(room.folder) in words[-1]]
    (stand_in,) = [each for each, file in ours if number not in file]
    stand_in.kill()
    process.wait(timeout=30)


def test_kernels_outlive_the_nursery_and_without_it_are_ordinary(room):
    import hub

    room.nursery().kill()
    assert room.said("print(1 + 1)") == "2\n"
    other = room.ada.open("lessons/02_embeddings.ipynb")
    said = "".join(hub.text(other.run("import sys; print('sdlesson' in sys.modules)")[0]))
    assert said == "False\n"


def test_a_kernel_ends_with_a_server_that_was_killed(room):
    alive = room.process()
    room.server().kill()
    alive.wait(timeout=30)


@pytest.mark.full
def test_the_nursery_has_all_that_a_lesson_imports_and_memory_beyond_the_limit_is_an_error_of_torchs():
    import hub

    with seated() as (folder, names), hub.hub(folder, folder / "hub.log", within=opening()) as address:
        room = Room(folder, address, names)
        assert room.said("import sys, sdlesson; print('torch' in sys.modules, sdlesson.load().name)") == "True tiny\n"
        assert "memory" in room.said("import torch; x = torch.empty(3 * 2**30, dtype=torch.uint8).fill_(1)")
        assert room.said("print(sdlesson.load().name)") == "tiny\n"


@pytest.mark.full
def test_a_hub_that_was_killed_and_begins_again_finds_the_servers_and_their_kernels():
    import hub

    same = {"ports": hub.free_ports(3), "within": opening(), "SDLESSON_LIBRARIES": " ".join(FEW)}
    with seated() as (folder, names):
        with hub.hub(folder, folder / "killed.log", **same) as address:
            room = Room(folder, address, names)
            server, process = room.server(), room.process()
            assert room.said("x = 6 * 7; print(x)") == "42\n"
            hubs = [each for each in psutil.Process().children() if "jupyterhub" in each.cmdline()]
            (running,) = [each for each in hubs if each.environ()["SDLESSON_ROOM"] == str(folder)]
            running.kill()
        with hub.hub(folder, folder / "again.log", **same):
            room.ada.start()
            room.kernel = room.ada.open("lessons/00_one_page.ipynb")
            assert room.said("print(x)") == "42\n" and room.process() == process
            hub.Learner(address, "emmy", names["emmy"]).start()
        process.wait(timeout=30)
        assert not server.is_running()
