"""docs/brusnika.md: its `curl` examples run as they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx

from adapters.brusnika.settings import BrusnikaSettings, SlotSettings
from adapters.brusnika.twin.server import BrusnikaTwin
from kounter.gateway.app import create_app
from kounter.gateway.queue import queue_router
from kounter.settings import Settings
from tests.support.gateway import Pushed, Seat, client

PAGE = (Path(__file__).parents[3] / "docs" / "brusnika.md").read_text("utf-8")
EXAMPLES = re.findall(r"curl http://127\.0\.0\.1:(\d+)(\S+) -H '([^:]+): ([^']+)'[ \\\n]+-d '([^']+)'", PAGE)


async def test_the_examples_of_pushed_changes_are_taken() -> None:
    put = Pushed()
    pushed = [(path, name, value, body) for port, path, name, value, body in EXAMPLES if port == "7070"]
    async with client(create_app([], Seat(), None, queue=queue_router(put, None, None))) as http:
        for path, name, value, body in pushed:
            answer = await http.post(path, content=body.encode(), headers={name: value})
            assert (answer.status_code, answer.text) == (201, '{"message":"SUCCESS"}')
    assert len(pushed) == 3
    assert [row[0] for row in put.rows] == ["p-4711", "c-1", "c-2", "l-17"]


async def test_the_examples_of_faults_change_the_twin() -> None:
    faults = [(path, name, value, body) for port, path, name, value, body in EXAMPLES if port == "7182"]
    async with BrusnikaTwin() as twin, httpx.AsyncClient(base_url=f"http://127.0.0.1:{twin.port}") as http:
        for path, name, value, body in faults:
            answer = await http.post(path, content=body.encode(), headers={name: value})
            assert json.loads(body).items() <= answer.json().items()
    assert len(faults) == 3
    assert (twin.faults.ignores_after, twin.faults.unavailable, twin.faults.rate) == (True, False, 50)


def test_the_page_names_all_settings() -> None:
    names = [f"KOUNTER_BRUSNIKA__{name.upper()}" for name in BrusnikaSettings.model_fields if name != "slots"]
    names += [f"KOUNTER_BRUSNIKA__SLOTS__{name.upper()}" for name in SlotSettings.model_fields]
    for name in names:
        assert name.removeprefix("KOUNTER_BRUSNIKA") in PAGE, name
    assert "brusnika" in Settings.model_fields
