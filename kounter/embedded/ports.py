"""Ports on loopback."""

from __future__ import annotations

import socket
from typing import Final

import psutil
from loguru import logger

from kounter.embedded.errors import PortTaken

HOST: Final = "127.0.0.1"


def is_free(port: int) -> bool:
    """Returns whether a server could listen on ``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def listens(port: int) -> bool:
    """Returns whether a server answers on ``port``."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def holds(pid: int, port: int) -> bool:
    """Returns whether a process, or one that it started, is the one that listens on ``port``."""
    if not listens(port):
        return False
    try:
        process = psutil.Process(pid)
        family = (process, *process.children(recursive=True))
        sockets = [one for member in family for one in member.net_connections("tcp")]
    except psutil.NoSuchProcess:  # one of them has just ended
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in sockets)


def free_port() -> int:
    """Returns a free port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def choose(wanted: int | None, usual: int, what: str) -> int:
    """Returns the ``wanted`` port. Raises PortTaken if it is in use; without one, returns the usual port, or a free one
    if that is in use."""
    if wanted is None:
        if is_free(usual):
            return usual
        found = free_port()
        logger.info("{}: port {} is in use, {} is taken instead", what, usual, found)
        return found
    if not is_free(wanted):
        raise PortTaken(f"{what}: port {wanted} is in use")
    return wanted
