"""The operator's twin: a server that answers as RosDomofon's REST does, for the demo, the tests and a user's staging
(docs/contracts/rosdomofon.md#rest).

Its Kafka side is `adapters.rosdomofon.twin.kafka`; both share one SQLite database.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from adapters.rosdomofon.settings import RosDomofonSettings
from adapters.rosdomofon.twin.app import TwinApp
from adapters.rosdomofon.twin.faults import Fault
from adapters.rosdomofon.twin.operator import Operator
from adapters.rosdomofon.twin.store import OperatorStore
from adapters.twin_kit.faults import Faults
from adapters.twin_kit.server import HttpTwin

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


class RosDomofonTwin(HttpTwin):
    """The twin of the operator's REST: ``async with RosDomofonTwin() as twin: twin.settings()``.

    A new one has one entrance with three services.
    """

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
        super().__init__(host, port)
        self._db_path, self._username, self._password, self._clock = db_path, username, password, clock
        self.faults = Faults[Fault](seed)
        self.operator: Operator
        self.app: TwinApp

    @property
    def url(self) -> str:
        """The address of the twin's REST."""
        return f"http://{self.address}"

    def settings(self, timeout_s: float = 5.0) -> RosDomofonSettings:
        """Return the settings of a client of the twin."""
        password = SecretStr(self._password)
        return RosDomofonSettings(base_url=self.url, username=self._username, password=password, timeout_s=timeout_s)

    def begin(self, stack: AsyncExitStack) -> TwinApp:
        """Open the operator's state; a new one gets an entrance. Raises ValueError for a file of another layout."""
        store = OperatorStore(self._db_path)
        stack.callback(store.close)
        self.operator = Operator(store, self._clock)
        if store.get("entrance", ENTRANCE) is None:
            self.operator.add_entrance(ENTRANCE, ADDRESS, SERVICES)
        self.app = TwinApp(self.operator, self.faults, self._username, self._password)
        return self.app
