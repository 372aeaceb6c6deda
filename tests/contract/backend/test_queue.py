"""The log to the main backend's own door, which the twin plays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters.backend.cipher import sealing
from adapters.backend.queue import BackendQueue
from adapters.backend.settings import BackendSettings
from adapters.backend.sink import BackendSink, body_of
from adapters.backend.twin.server import BackendTwin
from adapters.http_client import HttpRefused
from schemas.backend import BackendChange, BackendEvent
from schemas.errors import BrokenSetup, DeliveryUnavailable, UndecodableRecord
from streams.backend_log.numbering import event_of
from streams.ports import Outcome

KEY = rsa.generate_private_key(65_537, 2_048)


def event(subject: str, n: int = 1, **fields: str) -> BackendEvent:
    type, _, ext_id = subject.partition("/")
    return event_of(BackendChange(subject, type, ext_id, json.dumps({"ext_id": ext_id} | fields)), n)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "backend.pem"
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(KEY.public_key().public_bytes(serialization.Encoding.PEM, form))
    return path


@pytest.mark.parametrize("encrypted", [True, False])
async def test_things_are_taken_whole_and_without_our_number(key_file: Path, encrypted: bool) -> None:
    async with BackendTwin(key=KEY if encrypted else None) as twin:
        settings = BackendSettings(base_url=twin.url, public_key_file=key_file if encrypted else None)
        async with BackendQueue(settings) as queue:
            sink = BackendSink(queue)
            for n, subject in enumerate(("city/c", "project/p", "building/b", "lead/l"), 1):
                change = event(subject, n, name="Дом «7»", project_ext_id="p")
                assert (await sink.deliver(change, None, 1, False)).external_id == subject
            assert twin.door.taken == [("project", "p"), ("building", "b"), ("lead", "l")]
            assert twin.door.things["building"]["b"] == {"ext_id": "b", "name": "Дом «7»", "project_ext_id": "p"}
            assert dict(sink.passed_over) == {"city": 1}


async def test_an_unknown_parent_is_refused_and_an_outage_is_waited_out() -> None:
    async with BackendTwin() as twin, BackendQueue(BackendSettings(base_url=twin.url)) as queue:
        sink = BackendSink(queue)
        with pytest.raises(HttpRefused) as refused:
            await sink.deliver(event("premise/1", building_ext_id="none"), None, 1, False)
        assert refused.value.status == 404
        with pytest.raises(HttpRefused):
            await sink.deliver(event("project/1", text="x" * 110_000), None, 1, False)
        twin.door.down = True
        with pytest.raises(DeliveryUnavailable):
            await sink.deliver(event("project/1"), None, 1, False)


async def test_a_body_for_another_key_is_not_read(key_file: Path) -> None:
    other = rsa.generate_private_key(65_537, 2_048)
    async with BackendTwin(key=other) as twin:
        settings = BackendSettings(base_url=twin.url, public_key_file=key_file)
        async with BackendQueue(settings) as queue:
            with pytest.raises(HttpRefused) as refused:
                await queue.post("project", "{}")
    assert refused.value.status == 400


@pytest.mark.parametrize("content", [None, b"no key", b"private"])
def test_a_key_file_that_can_not_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "key.pem"
    if content == b"private":
        form = serialization.PrivateFormat.PKCS8
        content = KEY.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BrokenSetup, match="KOUNTER_BACKEND__PUBLIC_KEY_FILE"):
        sealing(path)


def test_the_sink_takes_changes_only_and_answers_with_nothing() -> None:
    sink = BackendSink(None)  # type: ignore[arg-type]
    with pytest.raises(UndecodableRecord):
        sink.accept(BackendChange("city/1"))
    change = event("city/1", 12)
    assert sink.accept(change).self_deduplicating
    assert sink.receipts(change, Outcome(1)) == ((), change)
    assert json.loads(body_of(change)) == {"ext_id": "1"}
    assert body_of(BackendEvent("city/1", 3, "city", '{"update_id":3}')) == "{}"
