"""Small processes that note their pid, and waiting for what becomes of them."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil

from tests.support.waiting import wait_until

FOREVER = "import time; time.sleep(600)"

NOTED = "import os,sys; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n');"

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"

GRANDCHILD = "import subprocess,sys; subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]]);"


def runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def python(code: str, *args: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, args)]


class Pids:
    """Processes that wrote their pid into a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def wait(self, count: int = 1) -> list[int]:
        wait_until(lambda: self.path.exists() and len(self.path.read_text().splitlines()) >= count)
        return self.all()

    def all(self) -> list[int]:
        return [int(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []
