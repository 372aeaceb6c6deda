"""``python -m bench.estate.log_clients``: clients of the log, in a process of their own."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import typer
from websockets.asyncio.client import connect

STALLED: Final = ("", "", "nest", "socket.io/?EIO=4&transport=websocket", "socket.io/?EIO=4&transport=websocket")
"""Paths of the clients that read nothing."""
app = typer.Typer()


@app.command()
def replay(url: str, count: int, clients: int) -> None:
    """Read the first ``count`` frames, as each of ``clients``."""

    async def one() -> None:
        async with connect(url, compression=None, close_timeout=0.1) as socket:
            for _ in range(count):
                await socket.recv(decode=False)

    async def all_of_them() -> None:
        await asyncio.gather(*[one() for _ in range(clients)])

    asyncio.run(all_of_them())


@app.command()
def stall(url: str, seconds: Annotated[float, typer.Argument(min=0)]) -> None:
    """Connect as each of `STALLED`, ask for the whole log, and read no more of it than the buffers take."""

    async def one(path: str) -> None:
        async with connect(url + path, compression=None, max_queue=1, close_timeout=0.1) as socket:
            if path.startswith("socket.io"):
                await socket.recv()  # Engine.IO's own packet
                await socket.send("40")
            await asyncio.sleep(seconds)

    async def all_of_them() -> None:
        await asyncio.gather(*[one(path) for path in STALLED])

    asyncio.run(all_of_them())


if __name__ == "__main__":
    app()
