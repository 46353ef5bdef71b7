"""One learner's server as a process with a user id and a home folder of its own, and limits that Linux keeps.

It needs no accounts: a learner's user id is the one that owns the
home folder, and a new folder gets the next free one. Whoever starts the hub without being root starts every server as
themselves: then nothing keeps learners from each other's files.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import cgroups
from jupyterhub.spawner import SimpleLocalProcessSpawner
from jupyterhub.traitlets import ByteSpecification
from traitlets import Integer, Unicode

FIRST_ID = 2_100_000_000  # beyond accounts, subordinate ids, SSSD's (to 2,000,200,000), and what grading takes
NICE = 5  # hub and proxy stay quick while learners compute


class RoomSpawner(SimpleLocalProcessSpawner):
    """Starts a server under the learner's own user id, and in a cgroup of the learner's, where there is one.

    `mem_limit` and `cpu_limit`, JupyterHub's own, hold for all processes of a learner together, by that cgroup.
    """

    process_limit = ByteSpecification(0, help="bytes of each process of a learner; 0: no limit").tag(config=True)
    task_limit = Integer(400, help="processes and threads that a learner may have at once").tag(config=True)
    cgroup = Unicode(help="folder of the cgroup that holds one for each learner; empty: none").tag(config=True)

    @property
    def own_cgroup(self) -> Path | None:
        return Path(self.cgroup, f"learner-{self.user.name}") if self.cgroup else None

    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        """What the new process does before it becomes the learner's server: limits first, then the id, then home."""
        home = Path(self.home_dir)
        number = own_home(home)
        if cgroup := self.own_cgroup:
            cgroups.limit(cgroup, self.mem_limit, self.cpu_limit, self.task_limit)

        def prepare() -> None:
            os.umask(0o077)
            cgroups.give_way(NICE)
            if cgroup:
                cgroups.join(cgroup)
            if self.process_limit:
                resource.setrlimit(resource.RLIMIT_DATA, (self.process_limit, self.process_limit))
            if number is not None:
                resource.setrlimit(resource.RLIMIT_NPROC, (self.task_limit, self.task_limit))
                os.setgroups([])
                os.setgid(number)
                os.setuid(number)
            os.chdir(home)

        return prepare

    async def stop(self, now: bool = False) -> None:
        """Stop the server, and kill what the learner has left running, where a cgroup tells what that is."""
        await super().stop(now)
        if cgroup := self.own_cgroup:
            cgroups.end(cgroup)


def check_ways(room: Path) -> None:
    """Raise SystemExit with a sentence where learners cannot come to Python, the project or the room."""
    python, ours = Path(sys.base_prefix) / "bin/python3", Path(sys.prefix) / "bin"
    for path in (room / "homes", python, ours, Path(__file__)):
        for folder in reversed(path.resolve().parents):
            if not folder.stat().st_mode & 0o001:
                sys.exit(f"Learners cannot come through {folder}, where Python, the project or the room lie.")


def own_home(home: Path) -> int | None:
    """Make the folder `home`, closed to others; the user id that owns it, None where only root could give it one.

    A folder that root or an account brought, as from a backup, becomes the learner's with all that is in it.
    """
    home.parent.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        home.mkdir(mode=0o700, exist_ok=True)
        return None
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid < FIRST_ID:
        home.parent.chmod(0o711)  # learners pass through, and see no names
        number = max(FIRST_ID - 1, *(folder.stat().st_uid for folder in home.parent.iterdir())) + 1
        home.chmod(0o700)
        for path in [*home.rglob("*"), home]:  # the folder last: until then it is not theirs
            os.chown(path, number, number, follow_symlinks=False)
    return home.stat().st_uid
