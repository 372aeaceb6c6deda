"""RosDomofon's processes as in earnest, the portal's delivery too if there is a portal: for tests, chaos, benchmark."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from adapters.rosdomofon.settings import RosDomofonSettings
from tests.support.sessions import session_s

PARTS: Final = {
    "worker": ("kounter.worker", "domofon", "0"),
    "bridge": ("kounter", "source", "rosdomofon"),
    "delivery": ("kounter", "deliver", "rosdomofon"),
}
PORTAL: Final = {"portal": ("kounter", "deliver", "bitrix24")}
READY: Final = {
    "worker": "are ours",
    "bridge": "rosdomofon kafka: reading",
    "delivery": "are ours",
    "portal": "are ours",
}
"""What each logs when it works."""
ANSWER: Final = "Сообщение получено"
BLOCKED: Final = "JUNK"
START_S: Final = 60.0


class Stage:
    """``stack``: Kafka and registry, of us and of the operator; ``rest``: where the operator's twin is; ``portal``:
    where Bitrix24's is, if there is one."""

    def __init__(
        self,
        stack: Any,
        folder: Path,
        companies: Sequence[str],
        rest: RosDomofonSettings,
        *,
        portal: str = "",
        **settings: str,
    ) -> None:
        self._folder = folder
        self.parts = PARTS | PORTAL if portal else PARTS
        self._env = {
            **os.environ,
            "KOUNTER_KAFKA__BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "KOUNTER_REGISTRY__URL": stack.registry_url,
            "KOUNTER_DATA_DIR": str(folder),
            "KOUNTER_LANE__SESSION_TIMEOUT_S": str(session_s()),
            "KOUNTER_ROSDOMOFON__BASE_URL": rest.base_url,
            "KOUNTER_ROSDOMOFON__USERNAME": rest.username,
            "KOUNTER_ROSDOMOFON__PASSWORD": rest.password.get_secret_value(),
            "KOUNTER_ROSDOMOFON__TIMEOUT_S": "3",
            "KOUNTER_ROSDOMOFON__KAFKA__BOOTSTRAP_SERVERS": stack.bootstrap_servers,
            "KOUNTER_ROSDOMOFON__KAFKA__COMPANIES": json.dumps(companies),
            "KOUNTER_ROSDOMOFON__KAFKA__GROUP_ID": f"issued-{companies[0]}",
            "KOUNTER_DOMOFON__ACKNOWLEDGEMENTS": json.dumps(dict.fromkeys(companies, ANSWER)),
            "KOUNTER_DOMOFON__BLOCK_STAGE": BLOCKED,
            "KOUNTER_BITRIX24__WEBHOOK_URL": portal,
            # As for the largest plan; and not a minute, as a comment in doubt waits so long before it is looked for.
            "KOUNTER_BITRIX24__CALLS_PER_S": "5",
            "KOUNTER_BITRIX24__BURST": "250",
            "KOUNTER_BITRIX24__TIMEOUT_S": "5",
            **settings,
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    async def __aenter__(self) -> Self:
        for part in self.parts:
            self.start(part)
        try:
            await asyncio.gather(*(self.ready(part) for part in self.parts))
        except BaseException:  # nobody leaves what was never entered
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                await asyncio.to_thread(process.wait, 30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise

    def log(self, part: str) -> str:
        """All that it said, in all its lives."""
        path = self._folder / f"{part}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def start(self, part: str) -> None:
        """Does not wait."""
        with (self._folder / f"{part}.log").open("ab") as log:
            command = [sys.executable, "-m", *self.parts[part]]
            self.running[part] = subprocess.Popen(command, env=self._env, stdout=log, stderr=subprocess.STDOUT)

    async def ready(self, part: str, times: int = 1) -> None:
        """Wait until it has said so ``times`` times in all."""
        try:
            async with asyncio.timeout(START_S):
                while self.log(part).count(READY[part]) < times:
                    if (code := self.running[part].poll()) is not None:
                        raise AssertionError(f"{part} has left with {code}:\n{self.log(part)[-3_000:]}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{part} is not ready:\n{self.log(part)[-3_000:]}") from None

    async def kill(self, part: str) -> None:
        """kill -9, and start it again."""
        process = self.running[part]
        process.kill()
        await asyncio.to_thread(process.wait)
        self.start(part)
