"""The operator's twin in the suite of all twins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from adapters.rosdomofon.rest.messages import NotDelivered
from adapters.rosdomofon.twin.faults import Fault, OwnWay
from adapters.rosdomofon.twin.server import RosDomofonTwin
from schemas.errors import DeliveryDenied
from tests.contract.suites.twin import Meaning, Scene, TwinSuite
from tests.support.systems.rosdomofon import PHONE, api_of


class TestRosDomofonTwin(TwinSuite):
    """A message is sent to an abonent."""

    fault = Fault
    own: ClassVar[dict[str, Meaning]] = {
        OwnWay.TOKEN_EXPIRED: (None, None),
        OwnWay.DENIED: (DeliveryDenied, DeliveryDenied),
        OwnWay.NOT_DELIVERED: (None, NotDelivered),
    }
    own_done = frozenset({OwnWay.TOKEN_EXPIRED})

    @asynccontextmanager
    async def running(self, db_path: str | Path, timeout_s: float) -> AsyncIterator[Scene]:
        async with RosDomofonTwin(db_path=db_path) as twin, api_of(twin, timeout_s) as api:
            abonent = twin.operator.add_abonent(int(PHONE))
            yield Scene(
                twin.url,
                twin.faults,
                lambda: api.get_service_connections(12_345),
                lambda: api.send_message([abonent], "support", "А"),
                lambda: len(twin.operator.got(abonent)),
            )

    def planned(self, kind: str, **more: Any) -> Fault:
        return Fault(kind=kind, calls=("GET /services/{id}/connections", "POST /messages"), **more)
