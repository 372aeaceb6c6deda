"""The operator's twin: a server that answers as RosDomofon's REST does, for the demo, the tests and a user's staging.

Its Kafka side is `adapters.rosdomofon.twin.kafka`; both share one memory, a SQLite database.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from pydantic import SecretStr

from adapters.rosdomofon.settings import RosDomofonSettings
from adapters.rosdomofon.twin.app import TwinApp
from adapters.rosdomofon.twin.faults import Fault
from adapters.rosdomofon.twin.operator import Operator
from adapters.rosdomofon.twin.store import OperatorStore
from adapters.twin_kit.faults import Faults
from adapters.twin_kit.server import serving

USERNAME: Final = "twin"
PASSWORD: Final = "of-the-twin"  # noqa: S105 - opens nothing but the twin
ENTRANCE: Final = 26_959
_TUNINGS: Final = {"companyId": 1292, "createdAt": 1_690_216_032_782, "customName": None}
SERVICES: Final[list[dict[str, Any]]] = [
    {"id": 12_345, "name": "Чат дома", "type": "HouseChat", **_TUNINGS},
    {"id": 12_346, "name": "Видеонаблюдение", "type": "VideoSurveillance", **_TUNINGS},
    {"id": 12_347, "name": "Мобильный домофон", "type": "SoftwareIntercom", **_TUNINGS},
]
ADDRESS: Final[dict[str, Any]] = {
    "country": {"shortName": "RU", "name": "Россия"},
    "city": "Чебоксары",
    "street": {"id": 7037, "name": "Филиппа Лукина", "codeFias": None, "codeKladr": "21000001000000100"},
    "house": {"id": 65_175, "number": "5", "block": None, "building": None, "housing": None},
    "entrance": {"id": ENTRANCE, "number": "1", "flatStart": 1, "flatEnd": 36, "additionalFlatRanges": []},
}


class RosDomofonTwin:
    """``async with RosDomofonTwin() as twin: twin.settings()``; begins with one entrance and its three services."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        db_path: str | Path = ":memory:",
        username: str = USERNAME,
        password: str = PASSWORD,
        seed: int = 1,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._host, self._port, self._db_path = host, port, db_path
        self._username, self._password, self._clock = username, password, clock
        self._stack = AsyncExitStack()
        self.faults = Faults[Fault](seed)
        self.operator: Operator
        self.app: TwinApp

    @property
    def url(self) -> str:
        """The operator's address."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def settings(self, timeout_s: float = 5.0) -> RosDomofonSettings:
        """By which a client finds the twin."""
        password = SecretStr(self._password)
        return RosDomofonSettings(base_url=self.url, username=self._username, password=password, timeout_s=timeout_s)

    async def __aenter__(self) -> RosDomofonTwin:
        store = OperatorStore(self._db_path)
        self._stack.callback(store.close)
        self.operator = Operator(store, self._clock)
        if store.get("entrance", ENTRANCE) is None:
            self.operator.add_entrance(ENTRANCE, ADDRESS, SERVICES)
        self.app = TwinApp(self.operator, self.faults, self._username, self._password)
        try:
            self._port = await self._stack.enter_async_context(serving(self.app.asgi, self._host, self._port))
        except BaseException:
            await self._stack.aclose()
            raise
        self._stack.callback(self.app.end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
