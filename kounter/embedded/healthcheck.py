"""Health check of a container's Kounter, cheap as it runs often.

``python -m kounter.embedded.healthcheck [PORT]`` exits with 0 if a process listens there; without a port, if a service
of the run file is alive, or a worker's process is past its start.
"""

from __future__ import annotations

import itertools
import os
import sys
import time
from pathlib import Path
from typing import Final

import psutil

from kounter.embedded.ports import listens
from kounter.embedded.runfile import RunFile

STARTED_S: Final = 20.0
"""Seconds of age that count as healthy: a process that keeps exiting at start never reaches them."""


def alive(data_dir: Path) -> bool:
    """Returns whether a service of the folder is alive. Workers of several containers share a folder and overwrite each
    other's entries, so their processes are searched."""
    return bool(RunFile(data_dir).read()) or any(map(_works, psutil.process_iter(["cmdline", "create_time"])))


def _works(process: psutil.Process) -> bool:
    command = process.info["cmdline"] or []
    is_worker = any(first == "-m" and second == "kounter.worker" for first, second in itertools.pairwise(command))
    return is_worker and time.time() - (process.info["create_time"] or time.time()) > STARTED_S


if __name__ == "__main__":
    ports = [int(port) for port in sys.argv[1:]]
    sys.exit(0 if (all(map(listens, ports)) if ports else alive(Path(os.environ["KOUNTER_DATA_DIR"]))) else 1)
