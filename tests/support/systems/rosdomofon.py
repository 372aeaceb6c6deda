"""What the RosDomofon contract tests share: a twin with an API of it, and the specs where they are at hand."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.twin.server import ENTRANCE, RosDomofonTwin

SPECS = Path(os.environ.get("CONTRACT_SPECS", Path(__file__).parents[4] / "shared" / "specs")) / "rosdomofon"
needs_specs = pytest.mark.skipif(
    not SPECS.is_dir(), reason="no CONTRACT_SPECS, see docs/contracts/README.md#specifications"
)
PHONE = "79990000001"


def sample(name: str) -> Any:
    """A body of the specs, as ``rest/accounts.get.response``."""
    return json.loads((SPECS / f"{name}.json").read_text("utf-8"))


@asynccontextmanager
async def api_of(twin: RosDomofonTwin, timeout_s: float = 5.0) -> AsyncIterator[RosDomofonAPI]:
    """A client of the twin."""
    async with RosDomofonAPI(twin.settings(timeout_s)) as api:
        yield api


async def control(twin: RosDomofonTwin, path: str, body: Any = None) -> Any:
    """Ask the twin's control, or tell it."""
    async with httpx.AsyncClient(base_url=twin.url, trust_env=False) as http:
        answer = await (http.get(f"/_twin/{path}") if body is None else http.post(f"/_twin/{path}", json=body))
        assert answer.status_code == 200, answer.text
        return answer.json()


class Home(int):
    """The id of a connection, with what it hangs on."""

    abonent_id: int
    account_id: int
    flat_id: int


async def a_home(api: RosDomofonAPI, number: str = "ACC123456", phone: str = PHONE) -> Home:
    """An account with a flat that has the house's chat."""
    account = await api.create_account(number, phone)
    assert account.owner
    flat = await api.create_flat(ENTRANCE, "1", abonent_id=account.owner.id)
    service = (await api.get_entrance_services(ENTRANCE))[0]
    home = Home((await api.connect_service(service.id, flat.id, account.id)).id)
    home.abonent_id, home.account_id, home.flat_id = account.owner.id, account.id, flat.id
    return home
