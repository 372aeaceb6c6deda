"""Timeouts for clients: uvicorn waits for ever for the rest of a request, and a few hundred such clients take all of
its connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE_S: Final = 10.0
"""Seconds for a request to come whole, body included, and for a client to read an answer."""
MAX_CONNECTIONS: Final = 256
"""Connections at once; more are answered with 503."""


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which disconnects a client that keeps it waiting: `uvicorn.Config(http=PatientProtocol,
    ws="none")`."""

    patience_s = PATIENCE_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._asked: asyncio.TimerHandle | None = None
        """Timer by which the request that is coming must be whole."""
        self._answered: asyncio.TimerHandle | None = None
        """Timer by which the client must have read some of the answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._asked = self._later(transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        _cancel(self._asked)
        _cancel(self._answered)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete:
            _cancel(self._asked)
            self._asked = None
        elif self._asked is None:  # uvicorn's own timer, between requests, ends with the first byte
            self._asked = self._later(self.transport.abort)

    def on_response_complete(self) -> None:
        super().on_response_complete()  # it begins with the next request, if that has come meanwhile
        if self._asked is None and self.cycle.more_body and not self.cycle.response_complete:
            self._asked = self._later(self.transport.abort)
        if self.transport.is_closing():  # which waits until all is read
            self._later(self.transport.abort)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._later(self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._answered = self._later(self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._answered)

    def _later(self, act: Callable[[], None]) -> asyncio.TimerHandle:
        return self.loop.call_later(self.patience_s, act)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
