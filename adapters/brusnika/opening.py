"""The choice of the feed's framing: the one that is set, or the one that the server turns out to have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from loguru import logger

from adapters.brusnika.connection import Connection, NotOpened, open_plain
from adapters.brusnika.settings import BrusnikaSettings, Framing
from adapters.brusnika.socket_io import open_socket_io


class Opener:
    """Opens connections to the feed. Where the framing is to be found out, a server that has no WebSocket at the
    path is asked for Socket.IO; what it had is tried first from then on."""

    def __init__(self, settings: BrusnikaSettings) -> None:
        self._settings = settings
        self._found = settings.framing
        if self._found is Framing.AUTO and "/socket.io" in urlsplit(settings.url).path:
            self._found = Framing.SOCKETIO

    @property
    def framing(self) -> Framing:
        """Returns the framing that is set, or was found; AUTO before that."""
        return self._found

    @asynccontextmanager
    async def open(self, after: int | None, *, max_size: int) -> AsyncIterator[Connection]:
        """Yields a connection, resumed after a number. Raises NotOpened, DeliveryDenied, BrokenSetup."""
        async with AsyncExitStack() as stack:
            yield await self._entered(stack, after, max_size)

    async def _entered(self, stack: AsyncExitStack, after: int | None, max_size: int) -> Connection:
        settings = self._settings
        header = settings.header_name, settings.header_value.get_secret_value()
        if self._found is Framing.SOCKETIO:
            return await stack.enter_async_context(open_socket_io(settings.url, after, header, max_size=max_size))
        try:
            return await stack.enter_async_context(open_plain(settings.url, after, header, max_size=max_size))
        except NotOpened as plain:
            if not plain.is_other or self._found is not Framing.AUTO:
                raise
            return await self._other(stack, after, header, max_size, plain)

    async def _other(
        self, stack: AsyncExitStack, after: int | None, header: tuple[str, str], max_size: int, plain: NotOpened
    ) -> Connection:
        parts = urlsplit(self._settings.url)
        url = parts._replace(path="").geturl()
        try:
            connection = await stack.enter_async_context(open_socket_io(url, after, header, max_size=max_size))
        except NotOpened as socket_io:
            raise NotOpened(f"{plain}; {socket_io}", is_error=plain.is_error) from None
        if parts.path not in ("", "/"):
            logger.warning("brusnika has no WebSocket at {}: its Socket.IO is used", parts.path)
        self._found = Framing.SOCKETIO
        return connection
