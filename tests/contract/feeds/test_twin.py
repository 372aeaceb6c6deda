"""The twin of feed files: its control, and files that are what another program expects."""

from __future__ import annotations

import gzip
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator

import httpx
import pytest

from adapters.feeds.twin.app import FEEDS
from adapters.feeds.twin.developer import Developer
from adapters.feeds.twin.server import FeedsTwin


@pytest.fixture
async def twin() -> AsyncIterator[FeedsTwin]:
    async with FeedsTwin() as running:
        yield running


@pytest.fixture
async def bare(twin: FeedsTwin) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{twin.address}", trust_env=False, timeout=60) as http:
        yield http


async def test_the_control_plans_faults_ticks_and_resets(twin: FeedsTwin, bare: httpx.AsyncClient) -> None:
    before = twin.developer.flats
    assert (await bare.post("/_twin/tick")).json()["version"] == 2
    assert twin.developer.flats != before
    (planned,) = (await bare.post("/_twin/faults", json={"kind": "empty", "feeds": ["yandex"]})).json()
    assert planned["feeds"] == ["yandex"]
    assert b"<offer" not in (await bare.get("/feed/yandex/")).content
    assert b"<object" in (await bare.get("/feed/cian/")).content
    assert (await bare.get("/_twin/status")).json()["faults_fired"] == {"empty": 1}
    assert (await bare.post("/_twin/faults", json={"kind": "nosuch"})).status_code == 422
    assert (await bare.post("/_twin/reset", json={})).status_code == 200
    assert twin.developer.flats == before
    assert (await bare.get("/_twin/status")).json()["requests"] == 0


async def test_it_answers_on_loopback_only(bare: httpx.AsyncClient) -> None:
    assert (await bare.get("/feed/yandex/", headers={"Host": "evil.example"})).status_code == 400
    assert (await bare.post("/_twin/tick", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 403


async def test_an_etag_belongs_to_the_content(twin: FeedsTwin, bare: httpx.AsyncClient) -> None:
    for name, feed in FEEDS.items():
        if feed.fault:
            continue
        first = await bare.get(f"/feed/{name}/")
        same = await bare.get(f"/feed/{name}/", headers={"If-None-Match": first.headers["etag"]})
        assert (first.status_code, same.status_code, same.content) == (200, 304, b""), name


async def test_a_client_without_gzip_gets_the_plain_file(bare: httpx.AsyncClient) -> None:
    plain = await bare.get("/feed/yandex/", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    async with bare.stream("GET", "/feed/yandex/", headers={"Accept-Encoding": "gzip"}) as packed:
        raw = b"".join([piece async for piece in packed.aiter_raw()])
    assert gzip.decompress(raw) == plain.content
    assert len(ET.fromstring(plain.content)) == 300  # noqa: S314 - our own


def test_a_developer_is_the_same_again() -> None:
    one, two = Developer(seed=5), Developer(seed=5)
    for developer in (one, two):
        for _ in range(20):
            developer.tick()
    assert one.flats == two.flats
    assert Developer(seed=6).flats != Developer(seed=5).flats
    assert 150 < len(one.flats) < 300
