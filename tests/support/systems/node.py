"""Node.js with the packages of ``tests/node``, where both are at hand: real peers for the twins' protocols."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final, NamedTuple

import platformdirs

from tests.support.waiting import PATIENCE_S

FOLDER: Final = Path(__file__).parents[2] / "node"
OLDEST: Final = 18
INSTALL_S: Final = 120.0
LOCKED: Final = ("package.json", "package-lock.json", ".npmrc")


class NotAtHand(Exception):
    """Raised where Node.js, npm, or its packages can't be had."""


class NodeError(Exception):
    """Raised for a request that failed in Node.js, or with its process."""


class Installed(NamedTuple):
    """What a process is started with."""

    node: str
    modules: Path


def installed() -> Installed:
    """Returns Node.js and the folder of its packages, which are installed once for each state of the lock file. Raises
    NotAtHand.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotAtHand(f"Node.js {OLDEST} or newer with npm is not at hand")
    version = _output(node, "--version")
    number = re.match(r"v(\d+)\.", version)
    if number is None or int(number[1]) < OLDEST:
        raise NotAtHand(f"Node.js {OLDEST} or newer is not at hand, but {version or 'one without a version'}")
    try:
        return Installed(node, _packages(npm))
    except OSError as error:
        raise NotAtHand(f"the packages of Node.js can't be kept: {error}") from None


def _packages(npm: str) -> Path:
    """Returns the folder ``node_modules``. It is in the user's cache: a clone's own would be installed each time."""
    digest = hashlib.sha256(b"".join((FOLDER / name).read_bytes() for name in LOCKED)).hexdigest()[:16]
    cache = platformdirs.user_cache_path("kounter") / "node-tests"
    kept = cache / digest
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="new-") as folder:
            new = Path(folder) / digest
            new.mkdir()
            for name in LOCKED:
                shutil.copy(FOLDER / name, new)
            _install(npm, new)
            try:
                new.rename(kept)  # whole or not at all, also beside another test process
            except OSError:
                if not kept.exists():
                    raise
    return kept / "node_modules"


def _install(npm: str, folder: Path) -> None:
    command = [npm, "ci", "--fetch-retries=1", "--fetch-timeout=30000"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        raise NotAtHand(f"the packages of Node.js are not at hand: npm takes over {INSTALL_S:.0f} s") from None
    if done.returncode:
        why = next((line for line in done.stderr.splitlines() if line.startswith("npm error")), "npm ci fails")
        raise NotAtHand(f"the packages of Node.js are not at hand: {why}")


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


class Node:
    """A process of ``tests/node/main.js``, which serves requests that may overlap."""

    def __init__(self, installed: Installed, log: Path) -> None:
        self._log = log
        self._ids = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        self._ended = False
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [installed.node, str(FOLDER / "main.js")],
                env={**os.environ, "NODE_PATH": str(installed.modules)},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    async def ask(self, do: str, **arguments: Any) -> Any:
        """Returns the result of a command. Raises NodeError, TimeoutError."""
        number, answer = next(self._ids), Future[Any]()
        with self._lock:
            if self._ended:
                raise NodeError(self._said())
            self._waiting[number] = answer
        assert self._process.stdin is not None
        line = json.dumps({"id": number, "do": do, "arguments": arguments}).encode() + b"\n"
        await asyncio.to_thread(self._write, line)
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.wrap_future(answer)

    async def ask_until(self, holds: Callable[[Any], object], do: str, **arguments: Any) -> Any:
        """Returns the first result of a command that holds. Raises NodeError, TimeoutError."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds(found := await self.ask(do, **arguments)):  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.05)
        return found

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except OSError as error:  # the process has ended
            raise NodeError(self._said()) from error

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._settle(json.loads(line))
        finally:
            with self._lock:
                self._ended = True
            for answer in self._waiting.values():
                if answer.set_running_or_notify_cancel():
                    answer.set_exception(NodeError(self._said()))

    def _settle(self, said: dict[str, Any]) -> None:
        with self._lock:
            answer = self._waiting.pop(said["id"])
        if not answer.set_running_or_notify_cancel():
            return  # the test waits no longer
        if "error" in said:
            answer.set_exception(NodeError(said["error"]))
        else:
            answer.set_result(said["result"])

    def _said(self) -> str:
        return f"Node.js has ended: {self._log.read_text('utf-8', 'replace')[-2_000:]}"
