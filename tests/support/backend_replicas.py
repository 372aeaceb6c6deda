"""``kounter backend`` as in earnest, several times, and clients of it that come back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import socketio
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from kounter.embedded.ports import free_port
from tests.support.sessions import session_s
from tests.support.waiting import until

KEY: Final = "s3cret"
HEADERS: Final = {"X-Kounter-Key": KEY}
SEAT: Final = "the seat is ours"
SERVES: Final = "the log for the main backend is on"


class Replica:
    """A process with a data folder and a port of its own; it keeps both over restarts."""

    def __init__(self, stack: Any, folder: Path, *command: str, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self._log, self._command = free_port(), folder / "process.log", command or ("kounter", "backend")
        self._env = {
            **os.environ,
            "KOUNTER_KAFKA__BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "KOUNTER_REGISTRY__URL": stack.registry_url,
            "KOUNTER_DATA_DIR": str(folder),
            "KOUNTER_LANE__SESSION_TIMEOUT_S": str(session_s()),
            "KOUNTER_BACKEND__ENABLED": "true",
            "KOUNTER_BACKEND__LISTEN": f"127.0.0.1:{self.port}",
            "KOUNTER_BACKEND__HEADER_VALUE": KEY,
            **settings,
        }
        self.start()

    def start(self) -> None:
        """Does not wait."""
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", *self._command]
            self.process = subprocess.Popen(command, env=self._env, stdout=log, stderr=subprocess.STDOUT)

    def said(self, words: str) -> int:
        """How often it has logged this, in all its lives."""
        return self._log.read_text("utf-8", "replace").count(words)

    @property
    def seated_at(self) -> str:
        """The time, as its log has it, at which it got the seat last; empty if it never had it."""
        return max(
            (line[:23] for line in self._log.read_text("utf-8", "replace").splitlines() if SEAT in line), default=""
        )

    async def until(self, words: str, times: int = 1) -> None:
        """Wait for words in the log; fails with its end if the process ends first."""
        while self.said(words) < times:
            assert self.process.poll() is None, self._log.read_text("utf-8", "replace")[-3_000:]
            await asyncio.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


class Follower:
    """A client that has what came so far, and goes on behind it at the next replica whenever it is cut."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._replicas = replicas
        self.frames: list[dict[str, Any]] = []
        self.wrong: list[str] = []
        """Numbers that did not follow the one before."""
        self.connections = 0

    @property
    def last(self) -> int:
        return len(self.frames)

    def take(self, frame: dict[str, Any]) -> None:
        number = frame["data"]["data"]["update_id"]
        if number != self.last + 1:
            self.wrong.append(f"{number} after {self.last}")
        self.frames.append(frame["data"])

    def port(self) -> int:
        """The next replica's."""
        self.connections += 1
        return self._replicas[self.connections % len(self._replicas)].port


async def follow_web_socket(follower: Follower) -> None:
    """Read by plain WebSocket until cancelled."""
    while True:
        with contextlib.suppress(OSError, WebSocketException, TimeoutError):
            url = f"ws://127.0.0.1:{follower.port()}/?after={follower.last}"
            async with connect(url, additional_headers=HEADERS, close_timeout=0.1) as socket:
                async for text in socket:
                    follower.take(json.loads(text))
        await asyncio.sleep(0.05)


async def follow_socket_io(follower: Follower) -> None:
    """Read by Socket.IO until cancelled; the client's own `wait` may swallow that."""
    task = asyncio.current_task()
    while task is not None and not task.cancelling():
        client = socketio.AsyncClient(reconnection=False)

        async def take(frame: Any) -> None:
            follower.take(frame)

        client.on("events", take)
        try:
            with contextlib.suppress(socketio.exceptions.ConnectionError):
                url, auth = f"http://127.0.0.1:{follower.port()}", {"after": follower.last}
                await client.connect(url, headers=HEADERS, auth=auth, transports=["websocket"])
                await client.wait()
        finally:
            await client.eio.disconnect(abort=True)
        await asyncio.sleep(0.05)


@asynccontextmanager
async def following(replicas: Sequence[Replica]) -> AsyncIterator[dict[str, Follower]]:
    """One client of each kind."""
    kinds: dict[str, Callable[[Follower], Any]] = {"web socket": follow_web_socket, "socket.io": follow_socket_io}
    followers = {kind: Follower(replicas) for kind in kinds}
    tasks = [asyncio.create_task(follow(followers[kind])) for kind, follow in kinds.items()]
    try:
        yield followers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def replicas_of(stack: Any, folder: Path, count: int = 2, **settings: str) -> AsyncIterator[list[Replica]]:
    """Replicas that serve; one of them has the seat."""
    async with AsyncExitStack() as started:
        found = []
        for n in range(count):
            replica = Replica(stack, folder / f"replica-{n}", **settings)
            started.callback(replica.kill)
            found.append(replica)
            await replica.until(SERVES)  # before the next one: the first makes the topics
        await until(lambda: any(replica.said(SEAT) for replica in found))
        yield found
