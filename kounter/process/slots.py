"""Slots: each worker process has one of the state folders of a data folder."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import TextIO

from schemas.errors import BrokenSetup


def slot_dir(data_dir: Path, slot: int) -> Path:
    """Returns the folder of one worker's local state; two processes can't share it."""
    return data_dir / "workers" / str(slot)


def take_slot(data_dir: Path, wanted: int | None) -> tuple[TextIO, int]:
    """Returns the lock of a slot, and its number: the one that is wanted, or the first free one.

    The process that starts workers keeps the lock open.

    Raises BrokenSetup if the wanted one is in use.
    """
    folder = data_dir / "workers"
    folder.mkdir(parents=True, exist_ok=True)
    for slot in range(1_000) if wanted is None else (wanted,):
        lock = (folder / f"{slot}.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return lock, slot
    raise BrokenSetup(
        f"another worker works in slot {wanted} of {data_dir}",
        hint="Stop that `kounter worker`, or choose another --slot, or none.",
    )
