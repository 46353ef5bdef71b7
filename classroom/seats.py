"""The room's seats: a password for each name, printed once to cut into strips, kept as hashes.

    python classroom/seats.py ROOM ada emmy grace        names of learners; `teacher` gets a seat with the first ones
    python classroom/seats.py ROOM --again ada           a new password for one who has lost theirs, or is to go: then
                                                         nobody is told it

Nobody can take a seat before its owner does, as each has its password from the beginning.
"""

from __future__ import annotations

import argparse
import dbm
import os
import re
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

TEACHER = "teacher"
PASSWORDS = "passwords"  # of one file or several, as the kind of Python's dbm has it
LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # 32, none that looks like another: 12 of them are 60 bits


def seats(room: Path) -> dict[str, bytes]:
    """The names that have a seat in the room, each with its password's hash; none where `seats.py` has not run yet."""
    if dbm.whichdb(str(room / PASSWORDS)) is None:
        return {}
    with dbm.open(str(room / PASSWORDS)) as passwords:
        names = passwords.keys()  # not every kind of dbm goes through its names without
        return {name.decode(): passwords[name] for name in names}


def give(room: Path, names: list[str], *, again: bool = False) -> dict[str, str]:
    """Give each name without a seat one, and with `again` each name a new password: name -> password.

    Raises ValueError for a name that is no plain word of small letters, digits, "-" and "_", or is to have a new
    password and has no seat, and OSError where the seats cannot be written; those that there were then stay.
    """
    import bcrypt

    odd = [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_-]{0,30}", name)]
    if odd:
        raise ValueError(
            f"A name is small letters, digits, - and _, a letter first; these are not: {', '.join(map(repr, odd))}."
        )
    room.mkdir(parents=True, exist_ok=True)
    room.chmod(0o711)  # learners pass through to their homes, and see nothing
    there = seats(room)
    if again and there and (unknown := sorted({*names} - {*there})):
        raise ValueError(f"These have no seat: {', '.join(unknown)}. The seats: {', '.join(sorted(there))}.")
    new = [name for name in dict.fromkeys([*([] if there else [TEACHER]), *names]) if again or name not in there]
    given = {name: "".join(secrets.choice(LETTERS) for _ in range(12)) for name in new}
    keep(room, {name: bcrypt.hashpw(each.encode(), bcrypt.gensalt()) for name, each in given.items()})
    return given


def keep(room: Path, hashes: dict[str, bytes]) -> None:
    """Add passwords to those that the hub's authenticator reads: in a copy, which takes their place when whole."""
    with tempfile.TemporaryDirectory(dir=room) as part:
        for file in room.glob(f"{PASSWORDS}*"):
            shutil.copy(file, part)
        with dbm.open(str(Path(part, PASSWORDS)), "c", 0o600) as passwords:
            for name, each in hashes.items():
                passwords[name] = each
        if seats(Path(part)) != seats(room) | hashes:
            raise OSError(f"The seats cannot be written into {room}; is the disk full?")
        for file in sorted(os.listdir(part)):
            os.replace(Path(part, file), room / file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", type=Path, metavar="ROOM")
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--again", action="store_true", help="new passwords for names that have a seat")
    args = parser.parse_args()
    try:
        given = give(args.room, args.names, again=args.again)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    for name, password in given.items():
        print(f"{name:<20} {password}")
    if args.again:
        print("A running hub takes them from now on.")
    else:
        print("A running hub learns of new names when it is started again." if given else "All of them have a seat.")


if __name__ == "__main__":
    main()
