"""A stand-in for a kernel: asks the nursery for one, passes signals on, and ends with it, or with the server.

    python -IS classroom/kernel.py ROOM/nursery.sock CONNECTION_FILE

Where the nursery does not answer, it becomes an ordinary kernel.
"""

import json
import os
import select
import signal
import socket
import sys


def main(nursery: str, file: str) -> None:
    server = os.getppid()
    asked = {"file": file, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(nursery)
            socket.send_fds(asking, [json.dumps(asked).encode()], [0, 1, 2])
            kernel = int(asking.recv(16))
            watched = os.pidfd_open(kernel)
        except (OSError, ValueError):
            os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", "-f", file])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.killpg(kernel, number))
        while os.getppid() == server:  # a server that was killed says nothing
            if select.select([watched], [], [], 1)[0]:
                break


if __name__ == "__main__":
    main(*sys.argv[1:])
