"""The frames of the log's server. Source: docs/contracts/brusnika.md#frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from schemas.error_frame import Trouble, error_frame
from schemas.errors import InvalidInput
from tables.event_log import Logged

EVENT: Final = "events"
"""The only event."""
Framing = Callable[[str], str]
"""Puts a frame into the form that a client reads."""


def data_frame(event: Logged) -> str:
    """Returns ``{"data": {"type", "data"}, "error": null}``. Both parts are JSON already, so nothing is encoded
    again; a type is a word."""
    return f'{{"data":{{"type":"{event.type}","data":{event.frame}}},"error":null}}'


def plain(frame: str) -> str:
    """Returns the frame as it is."""
    return frame


def nest(frame: str) -> str:
    """Returns the frame in the form of NestJS's WsAdapter."""
    return f'{{"event":"{EVENT}","data":{frame}}}'


def socket_io(frame: str) -> str:
    """Returns the frame as a Socket.IO packet: an event (type 2) of the default namespace, without acknowledgement."""
    return f'2["{EVENT}",{frame}]'


def denied() -> str:
    """Returns the published error frame for a wrong header."""
    return error_frame(Trouble.DENIED, "Invalid custom header").decode()


def refused(error: InvalidInput) -> str:
    """Returns the error frame that names the parameter, the expected value and the received one."""
    return error_frame(
        Trouble.WRONG_VALUE,
        error.message,
        code=Trouble.WRONG_VALUE.name.lower(),
        field=error.field,
        expected=error.expected,
        came=error.came,
    ).decode()
