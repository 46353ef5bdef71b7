"""A trial of the room on this machine alone: two learners, `ada` and `emmy`, and you as `teacher`: `make hub`.

It gives the seats their passwords and prints them, publishes the lessons of this checkout, and starts the hub on
loopback. As root each learner gets a user id of their own, without an account. As anyone else all servers run as you.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import publish  # noqa: E402
import seats  # noqa: E402

NAMES = ["ada", "emmy"]


def ready() -> None:
    """Fetch the proxy with npm, unless it is there; raises SystemExit with a sentence where a part is missing."""
    try:
        import firstuseauthenticator  # noqa: F401
        import jupyterhub  # noqa: F401
        import nbgitpuller  # noqa: F401
    except ImportError as error:
        sys.exit(f'{error.name} is missing; install it with: python -m pip install -c constraints.txt -e ".[hub]"')
    if (HERE / "node_modules/configurable-http-proxy").is_dir():
        return
    npm = shutil.which("npm", path=search())
    if not npm or subprocess.run([npm, "ci", "--silent"], cwd=HERE, env=os.environ | {"PATH": search()}).returncode:
        sys.exit("The hub's proxy comes from npm once, and npm is not there or could not fetch it.")


def search() -> str:
    """Where programs are looked for: Node may have come with Python's packages."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    place = HERE.parent / "build/hub"
    parser.add_argument("folder", type=Path, nargs="?", default=place, help="delete it, and nothing is left")
    parser.add_argument("--ready", action="store_true", help="only fetch the hub's proxy, and say what is missing")
    args = parser.parse_args()
    ready()
    if args.ready:
        return
    room = args.folder.resolve()
    seats.give(room, NAMES)
    passwords = seats.give(room, [seats.TEACHER, *NAMES], again=True)
    publish.main(room)
    if os.geteuid() == 0:
        print("You are root: each learner's server has a user id of its own, and cannot read another's files.")
    else:
        print("You are not root: all servers run as you, so nothing keeps learners from each other's files.")
    for name, password in passwords.items():
        print(f"    {name:<10} {password}")
    print("The room opens at http://127.0.0.1:8000. To end it: Ctrl + C. It leaves", room, flush=True)
    command = [sys.executable, "-m", "jupyterhub", "-f", str(HERE / "jupyterhub_config.py"), "--log-level=WARN"]
    os.chdir(room)
    os.execve(sys.executable, command, os.environ | {"SDLESSON_ROOM": str(room), "PATH": search()})


if __name__ == "__main__":
    main()
