"""Kernels that share their libraries: one process imports them, and every learner's kernel is a fork of it.

    python classroom/nursery.py ROOM [LIBRARY ...]        the hub starts this as its service `nursery`

What torch, diffusers and the lessons need from their imports is in memory once for the room, and a kernel is there at
once. A server starts `kernel.py`, a small stand-in for the kernel; it asks here through ROOM/nursery.sock, lends its
input and output, and passes signals on. Whom a kernel belongs to is the word of the operating system, not the asker's.
Kernels outlive the nursery; it ends with the hub, and a new one takes its place.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import fcntl
import gc
import importlib
import json
import os
import re
import resource
import signal
import socket
import struct
import sys
from pathlib import Path

import cgroups

LIBRARIES = ["ipykernel.kernelapp", "ipykernel.ipkernel", "IPython", "ipywidgets", "anywidget", "torch", "skia"]
LIBRARIES += ["scipy.integrate", "scipy.stats", "matplotlib.figure"]
LIBRARIES += ["transformers.models.clip.modeling_clip", "transformers.models.clip.tokenization_clip"]
LIBRARIES += ["diffusers.models.autoencoders.autoencoder_kl", "diffusers.models.unets.unet_2d_condition"]
LIBRARIES += ["diffusers.schedulers.scheduling_lms_discrete"]
LIBRARIES += ["sdlesson.models", "sdlesson.guidance", "sdlesson.decoding", "sdlesson.world.classifier"]
LIBRARIES += ["sdlesson.figures.guidance", "sdlesson.explorers.guidance", "sdlesson.exercises"]
AT_ONCE = 12  # kernels of one learner
LIMITS = {"Max data size": resource.RLIMIT_DATA, "Max processes": resource.RLIMIT_NPROC}  # as /proc names them
INLINE = "module://matplotlib_inline.backend_inline"  # what a kernel sets before Matplotlib is imported
PR_SET_DUMPABLE = 4


def main(room: Path, libraries: list[str]) -> None:
    hub = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ["MPLBACKEND"] = INLINE
    sys.path.pop(0)  # this folder is no kernel's
    for name in libraries:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a kernel's collector leaves these objects, and so their pages, alone
    path = room / "nursery.sock"
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen(64)
    listener.settimeout(1)  # kernels that have ended are cleared away each second
    owners: dict[int, int] = {}
    while os.getppid() == hub:  # a hub that was killed says nothing
        with contextlib.suppress(ChildProcessError):
            while done := os.waitpid(-1, os.WNOHANG)[0]:
                owners.pop(done, None)
        try:
            asker, _ = listener.accept()
        except TimeoutError:
            continue
        peer, user, group = struct.unpack("3i", asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if collections.Counter(owners.values())[user] < AT_ONCE:
            if (child := os.fork()) == 0:
                listener.close()
                become(peer, user, group)
                serve(asker)
                os._exit(0)
            owners[child] = user
        asker.close()


def become(peer: int, user: int, group: int) -> None:
    """Take over from the process `peer` whose it is and what it may: its limits, its cgroup, its user."""
    os.setsid()
    told = Path(f"/proc/{peer}/limits").read_text()
    for name, limit in LIMITS.items():
        soft, hard = re.search(rf"^{name}\s+(\w+)\s+(\w+)", told, flags=re.M).groups()
        resource.setrlimit(limit, tuple(-1 if each == "unlimited" else int(each) for each in (soft, hard)))
    cgroups.give_way(os.getpriority(os.PRIO_PROCESS, peer))
    if (cgroup := cgroups.group_of(peer)) != cgroups.group_of():
        cgroups.join(cgroup)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1)  # to its own user it is a process like any other


def serve(asker: socket.socket) -> None:
    """Be the kernel that is asked for, in its folder and environment, until it or its stand-in ends."""
    os.umask(0o077)
    request, descriptors, _, _ = socket.recv_fds(asker, 1 << 20, 3)
    asked = json.loads(request)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"] | {"MPLBACKEND": INLINE})
    os.environ.pop("JPY_PARENT_PID", None)  # its parent is the nursery
    # When the stand-in ends, killed or not, its end of the socket closes, and SIGIO ends this process.
    fcntl.fcntl(asker, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(asker, fcntl.F_SETFL, fcntl.fcntl(asker, fcntl.F_GETFL) | os.O_ASYNC)
    asker.send(str(os.getpid()).encode())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import numpy as np
    from ipykernel.kernelapp import IPKernelApp

    np.random.seed()  # or all kernels would draw the numbers of their common import
    sys.argv = ["ipykernel_launcher.py", "-f", asked["file"]]
    IPKernelApp.launch_instance()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or LIBRARIES)
