"""A cgroup for each learner: limits on the sum of what a learner's processes take, which Linux keeps.

The files are those of https://docs.kernel.org/admin-guide/cgroup-v2.html. A group with processes cannot share out
among groups in it, so the hub goes into `hub`, beside its learners'. Its group must have been given to it alone:
systemd does so for a unit with `Delegate=yes`.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

HUB = "hub"
CONTROLLERS = {"cpu", "memory", "pids"}
PERIOD = 100_000  # microseconds in which a group may compute for its share: Linux's own choice


def group_of(process: int | str = "self") -> Path | None:
    """The folder of the group that a process is in; None on a system without cgroups of version 2."""
    mount = re.search(r"^\S+ (\S+) cgroup2 ", Path("/proc/self/mounts").read_text(), flags=re.M)
    path = re.search(r"^0::/(.*)$", Path(f"/proc/{process}/cgroup").read_text(), flags=re.M)
    return Path(mount[1]) / path[1] if mount and path else None


def share_out(group: Path | None) -> Path:
    """Make the hub's own group ready to hold one for each learner, and return it.

    Raises OSError where the system does not let the hub do so.
    """
    if group is None:
        raise OSError("this system has no cgroups of version 2")
    group = group.parent if group.name == HUB else group
    if missing := CONTROLLERS - {*(group / "cgroup.controllers").read_text().split()}:
        raise OSError(f"{group} cannot limit {', '.join(sorted(missing))}")
    if {*(group / "cgroup.procs").read_text().split()} - {str(os.getpid())}:
        raise OSError(f"{group} holds other processes than the hub")
    (group / HUB).mkdir(exist_ok=True)
    join(group / HUB)
    (group / "cgroup.subtree_control").write_text(" ".join(f"+{each}" for each in sorted(CONTROLLERS)))
    (group / HUB / "cpu.weight").write_text("1000")  # a learner's is 100: hub and proxy stay quick
    return group


def limit(group: Path, memory: int | None, processors: float | None, tasks: int) -> None:
    """Make a learner's group, where it is not there, and limit bytes, processors, and processes with threads."""
    group.mkdir(exist_ok=True)
    (group / "memory.max").write_text(str(memory or "max"))
    (group / "cpu.max").write_text(f"{int(processors * PERIOD) if processors else 'max'} {PERIOD}")
    (group / "pids.max").write_text(str(tasks))


def give_way(nice: int) -> None:
    """Let other processes compute first, within this one's session and (where Linux groups by session) between them."""
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))


def join(group: Path) -> None:
    """Go into a group, with all processes that this one will start."""
    (group / "cgroup.procs").write_text(str(os.getpid()))


def end(group: Path) -> None:
    """Kill whatever still runs in a group; before Linux 5.14, nothing."""
    if (group / "cgroup.kill").exists():
        (group / "cgroup.kill").write_text("1")
