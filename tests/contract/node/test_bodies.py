"""Node's `crypto` reads our encrypted bodies, and its own are read by our door."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters.backend.queue import BackendQueue
from adapters.backend.settings import BackendSettings
from kounter.gateway.app import create_app
from kounter.gateway.queue import queue_router
from tests.support.gateway import Pushed, Seat, client
from tests.support.systems.node import Node

KEY = rsa.generate_private_key(65_537, 2_048)


def public_pem() -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return KEY.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def private_pem() -> str:
    form, open_ = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return KEY.private_bytes(serialization.Encoding.PEM, form, open_).decode()


@asynccontextmanager
async def queue(folder: Path, port: int) -> AsyncIterator[BackendQueue]:
    path = folder / "backend.pem"
    path.write_text(public_pem())
    async with BackendQueue(BackendSettings(base_url=f"http://127.0.0.1:{port}", public_key_file=path)) as queue:
        yield queue


async def test_the_backends_door_decrypts_what_we_post(node: Node, tmp_path: Path) -> None:
    text = "Дом «7» \U0001f3e0"
    things = [{"ext_id": f"p-{length}", "name": "я" * length} for length in range(40)]  # each padding at least once
    large = {"ext_id": "p-large", "name": "я" * 34_000}
    port = await node.ask("openDoor", privateKey=private_pem())
    try:
        async with queue(tmp_path, port) as door:
            await door.post("building", [_bytes({"ext_id": "b", "name": text})])  # answered without a body
            for thing in things:
                await door.post("premise", [_bytes(thing)])
            await door.post("premise", [_bytes(thing) for thing in things])
            await door.post("lead_op", [_bytes(large)])
    finally:
        taken = await node.ask("closeDoor", port=port)
    assert taken == [
        ["/queue/building", {"ext_id": "b", "name": text}],
        *(["/queue/premise", thing] for thing in things),
        ["/queue/premise/many", {"data": things}],
        ["/queue/lead-ops", large],
    ]


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 30_000])
async def test_our_door_decrypts_what_node_encrypts(node: Node, length: int) -> None:
    put, name = Pushed(), "я" * length
    change = {"ext_id": "c-1", "name": name}
    async with client(create_app([], Seat(), None, queue=queue_router(put, KEY, None))) as http:
        for path, body in (("city", change), ("city/many", {"data": [change, {"ext_id": "c-2"}]})):
            plain = json.dumps(body, ensure_ascii=False)
            sealed = await node.ask("seal", publicKey=public_pem(), plain=plain)
            answer = await http.post(f"/queue/{path}", json=sealed)
            assert (answer.status_code, answer.json()) == (201, {"message": "SUCCESS"}), answer.text
    assert [(row[0], row.name) for row in put.rows] == [("c-1", name), ("c-1", name), ("c-2", None)]


def _bytes(thing: dict[str, Any]) -> bytes:
    return json.dumps(thing, ensure_ascii=False).encode()
