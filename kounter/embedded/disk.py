"""Check of free disk space: Kafka exits without any, and each further start writes more to the full disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

LEAST_TO_RUN_BYTES: Final = 64 << 20
LEAST_TO_RUN_FILES: Final = 100
"""Free files below which nothing is started again: all waiting processes together would fill the disk again."""


def shortage(folder: Path) -> str | None:
    """Returns a message about a full disk; None while there is space, or if it can't be measured."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    free = disk.f_bavail * disk.f_frsize
    if free < LEAST_TO_RUN_BYTES:
        return f"the disk is full at {folder}: {free >> 20} MB are free, {LEAST_TO_RUN_BYTES >> 20} MB are needed"
    if disk.f_files and disk.f_favail < LEAST_TO_RUN_FILES:  # some file systems do not count them
        return f"the disk is full at {folder}: it takes {disk.f_favail} more files, {LEAST_TO_RUN_FILES} are needed"
    return None
