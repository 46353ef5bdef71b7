"""The room on a server keeps learners to their own files and to their share."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import runpy
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

if sys.platform != "linux":
    pytest.skip("on Linux alone", allow_module_level=True)


ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "classroom"))

import cgroups  # noqa: E402
import publish  # noqa: E402
import seats  # noqa: E402


def test_seats_learners_pass_through_the_room_and_see_nothing(tmp_path, monkeypatch):
    bcrypt = pytest.importorskip("bcrypt", reason='needs bcrypt: pip install -e ".[hub]"')
    salt = bcrypt.gensalt(4)
    monkeypatch.setattr(bcrypt, "gensalt", lambda: salt)
    seats.give(tmp_path / "room", ["ada"])
    assert stat.S_IMODE((tmp_path / "room").stat().st_mode) == 0o711


def test_publish_all_may_read_the_lessons_and_nobody_else_write_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(publish, "find_lessons", lambda: None)
    monkeypatch.setattr(publish, "learners_tree", lambda lessons: {"a/lesson.ipynb": b"{}"})
    mask = os.umask(0o077)
    try:
        publish.main(tmp_path)
    finally:
        os.umask(mask)
    repository = tmp_path / "lessons.git"
    for path in [repository, *repository.rglob("*")]:
        wanted = 0o755 if path.is_dir() else 0o444 if "objects" in path.relative_to(repository).parts else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    settings = tmp_path / "gitconfig"
    assert settings.read_text() == f"[safe]\n\tdirectory = {repository}\n"
    assert stat.S_IMODE(settings.stat().st_mode) == 0o644 and "a new version" in capsys.readouterr().out


def test_jupyterhub_config_keeps_the_room_closed_whatever_is_typed(tmp_path, monkeypatch):
    """What keeps learners from each other, from names without a password, and from what the hub writes."""
    config, spawner = pytest.importorskip("traitlets.config"), hub_spawner()

    def refused(group):
        raise OSError("none here")

    (tmp_path / "jupyter").mkdir()
    monkeypatch.setenv("SDLESSON_ROOM", str(tmp_path))
    for name in ("SDLESSON_ADDRESS", "SDLESSON_LESSONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(spawner, "check_ways", lambda room: None)
    monkeypatch.setattr(seats, "seats", lambda room: {"teacher": b"1", "ada": b"2"})
    monkeypatch.setattr(cgroups, "share_out", refused)
    made, mask, ways = config.Config(), os.umask(0o022), [*sys.path]
    try:
        file = ROOT / "classroom" / "jupyterhub_config.py"
        told = runpy.run_path(str(file), {"get_config": lambda: made})
        assert os.umask(0o022) == 0o077
    finally:
        os.umask(mask)
        sys.path[:] = ways
    assert made.JupyterHub.bind_url == "http://127.0.0.1:8000"
    assert made.Authenticator.allowed_users == {"teacher", "ada"} and made.FirstUseAuthenticator.create_users is False
    assert made.FirstUseAuthenticator.min_password_length >= 8
    asked = {"--ServerApp.terminals_enabled=False", "--KernelManager.transport_encryption=required"}
    assert asked <= set(made.Spawner.args) and "--LabApp.extension_manager=readonly" in made.Spawner.args
    roles = {role["name"]: role for role in made.JupyterHub.load_roles}
    watching = {"list:users", "read:users:activity", "read:servers", "delete:servers"}
    assert set(roles["culler"]["scopes"]) == watching and roles["teacher"]["users"] == ["teacher"]
    assert set(roles["teacher"]["scopes"]) == watching | {"servers", "admin-ui"}  # it opens nobody's server
    services = {service["name"]: service["command"] for service in made.JupyterHub.services}
    assert services["culler"][-1] == f"--timeout={told['IDLE']}" == "--timeout=3600"  # seconds
    assert services["nursery"][:3] == ["env", "-u", "JUPYTERHUB_API_TOKEN"]
    assert (made.Spawner.mem_limit, made.Spawner.cpu_limit) == (told["MEMORY"], told["PROCESSORS"])
    assert (made.RoomSpawner.process_limit, made.RoomSpawner.task_limit) == (told["PROCESS_MEMORY"], told["TASKS"])
    assert not {name for name in made.Spawner.env_keep if "TOKEN" in name}
    assert (tmp_path / "jupyter/kernels/python3/kernel.json").stat().st_mode & 0o005


def hub_spawner():
    pytest.importorskip("jupyterhub", reason='needs JupyterHub: pip install -e ".[hub]"')
    import spawner

    return spawner


def test_spawner_a_closed_folder_on_a_learners_way_is_told(monkeypatch, tmp_path):
    spawner = hub_spawner()
    closed = None
    monkeypatch.setattr(Path, "stat", lambda self, **_: SimpleNamespace(st_mode=0o750 if self == closed else 0o711))
    room, python = tmp_path.resolve() / "room", Path(sys.base_prefix).resolve()
    assert spawner.check_ways(room) is None
    for closed in (room, room.parent, python):
        with pytest.raises(SystemExit, match=re.escape(f"come through {closed}, where")):
            spawner.check_ways(room)


def test_spawner_what_is_left_running_ends_with_the_server(monkeypatch, tmp_path):
    spawner = hub_spawner()
    stopped, ended = [], []

    async def stop(self, now=False):
        stopped.append(now)

    monkeypatch.setattr(spawner.SimpleLocalProcessSpawner, "stop", stop)
    monkeypatch.setattr(cgroups, "end", ended.append)
    learner = spawner.RoomSpawner(cgroup=str(tmp_path))
    learner.user = SimpleNamespace(name="ada")
    with ThreadPoolExecutor(1) as thread:  # this one may have a loop: the browser's
        thread.submit(asyncio.run, learner.stop(True)).result()
    assert (stopped, ended) == ([True], [tmp_path / "learner-ada"])


def test_spawner_a_learners_server_gives_way_and_has_limits_and_no_group_of_the_hubs(monkeypatch, tmp_path):
    spawner = hub_spawner()
    calls = []
    for name in ("setgroups", "setgid", "setuid", "umask", "chdir"):
        monkeypatch.setattr(spawner.os, name, lambda value, name=name: calls.append((name, value)))
    monkeypatch.setattr(spawner.resource, "setrlimit", lambda which, most: calls.append((which, most)))
    monkeypatch.setattr(cgroups, "give_way", lambda nice: calls.append(("nice", nice)))
    monkeypatch.setattr(cgroups, "limit", lambda group, *limits: calls.append((group.name, limits)))
    monkeypatch.setattr(cgroups, "join", lambda group: calls.append(("join", group.name)))
    monkeypatch.setattr(spawner, "own_home", lambda home: 77)
    learner = spawner.RoomSpawner(
        cgroup=str(tmp_path), mem_limit="3G", cpu_limit=1.5, task_limit=44, process_limit="1G"
    )
    learner.user = SimpleNamespace(name="ada")
    learner.home_dir = str(tmp_path / "home")
    learner.make_preexec_fn("ada")()
    resource = spawner.resource
    assert calls == [
        ("learner-ada", (3 * 2**30, 1.5, 44)),
        ("umask", 0o077),
        ("nice", spawner.NICE),
        ("join", "learner-ada"),
        (resource.RLIMIT_DATA, (2**30, 2**30)),
        (resource.RLIMIT_NPROC, (44, 44)),  # the rights go last: what comes after them, root alone might do
        ("setgroups", []),
        ("setgid", 77),
        ("setuid", 77),
        ("chdir", tmp_path / "home"),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="the nursery runs on Linux")
def test_nursery_one_learner_has_so_many_kernels_and_no_more(tmp_path):
    begin = "import nursery, pathlib, sys; nursery.AT_ONCE = 2; nursery.main(pathlib.Path(sys.argv[1]), ['json'])"
    command = [sys.executable, "-c", begin, str(tmp_path)]
    path = tmp_path / "nursery.sock"

    def asked():
        until = time.monotonic() + 20
        while True:
            asking = socket.socket(socket.AF_UNIX)
            asking.settimeout(1)
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):  # it has not begun to listen
                asking.connect(str(path))
                return asking
            asking.close()
            assert nursery.poll() is None and time.monotonic() < until
            time.sleep(0.02)

    def refused(asking):
        try:
            return asking.recv(16) == b""
        except TimeoutError:
            return False

    with subprocess.Popen(command, cwd=ROOT / "classroom", stderr=subprocess.DEVNULL) as nursery:
        try:
            taken = [asked(), asked()]
            assert refused(third := asked())  # at once; the two who have a kernel are listened to
            for asking in (*taken, third):
                asking.close()
        finally:
            nursery.kill()
