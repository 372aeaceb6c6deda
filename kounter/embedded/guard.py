"""Runs a command, and kills it and all that it started when the pipe from the parent closes.

``python -m kounter.embedded.guard FD LOG COMMAND…``
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final

import psutil

from kounter.embedded.process import die_with_parent, rotate

GRACE_S: Final = 5.0
LOOK_AT_LOG_S: Final = 10.0


def main(fd: int, log: Path, command: list[str]) -> int:
    """Returns the command's exit code; 128 + n if signal n ended it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when its children end
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)

    def forward(signum: int, frame: FrameType | None) -> None:
        child.send_signal(signum)

    signal.signal(signal.SIGTERM, forward)
    threading.Thread(target=_watch, args=(fd, log, child), daemon=True).start()
    code = child.wait()
    _end_group()
    return code if code >= 0 else 128 - code


def _watch(fd: int, log: Path, child: subprocess.Popen[bytes]) -> None:
    while not select.select([fd], [], [], LOOK_AT_LOG_S)[0]:
        with suppress(OSError):
            rotate(log)
    if os.read(fd, 1) == b"":
        child.terminate()
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()


def _end_group() -> None:
    """Kill all processes of the session that `Child` created, which the command left behind."""
    if os.getpgrp() != os.getpid():
        return
    for pid in psutil.pids():
        with suppress(OSError):
            if pid != os.getpid() and os.getpgid(pid) == os.getpgrp():
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
