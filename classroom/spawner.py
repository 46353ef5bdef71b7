"""One learner's server as a process with a user id and a home folder of its own, and limits that the kernel keeps.

For servers without systemd: a trial, a container. It needs no accounts: a learner's user id is the one that owns the
home folder, and a new folder gets the next free one. Whoever starts the hub without being root starts every server as
themselves: then nothing keeps learners from each other's files.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from pathlib import Path

from jupyterhub.spawner import SimpleLocalProcessSpawner
from traitlets import Integer

FIRST_ID = 200_000  # above the ids of accounts and services (to 60000), and of systemd's dynamic users (to 65519)
NICE = 5  # hub and proxy stay quick while learners compute


class RoomSpawner(SimpleLocalProcessSpawner):
    """Starts `jupyterhub-singleuser` under the learner's own user id; `mem_limit` holds for each process."""

    task_limit = Integer(400, help="processes and threads that a learner may have at once").tag(config=True)

    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        """What the new process does before it becomes the learner's server: limits first, then the id, then home."""
        home = Path(self.home_dir)
        number = own_home(home)

        def prepare() -> None:
            os.umask(0o077)
            os.nice(NICE)
            if self.mem_limit:
                resource.setrlimit(resource.RLIMIT_DATA, (self.mem_limit, self.mem_limit))
            if number is not None:
                resource.setrlimit(resource.RLIMIT_NPROC, (self.task_limit, self.task_limit))
                os.setgroups([])
                os.setgid(number)
                os.setuid(number)
            os.chdir(home)

        return prepare


def own_home(home: Path) -> int | None:
    """Make the folder `home`, closed to others; the user id that owns it, None where only root could give it one."""
    home.parent.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        home.mkdir(mode=0o700, exist_ok=True)
        return None
    if not home.exists():
        home.parent.chmod(0o711)  # learners pass through, and see no names
        taken = [folder.stat().st_uid for folder in home.parent.iterdir()]
        number = max([FIRST_ID - 1, *taken]) + 1
        home.mkdir(mode=0o700)
        os.chown(home, number, number)
    return home.stat().st_uid
