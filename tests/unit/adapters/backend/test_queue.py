"""The meaning of the door's answers: whether a thing is at fault, the backend, or our settings."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from adapters.backend.queue import BackendQueue, OneMaySpoil
from adapters.backend.settings import BackendSettings
from adapters.http_client import HttpAnswer, HttpRefused
from schemas.errors import DeliveryDenied, DeliveryUnavailable, OutcomeUnknown

PROMPT = {"meta": {"type": "error", "prompt": {"id": 404, "labels": {"en": "building not found"}}}, "data": None}
NEST: dict[str, Any] = {"message": "Cannot POST /queue/x", "error": "Not Found"}


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (404, PROMPT, HttpRefused),
        (400, PROMPT, HttpRefused),
        (422, NEST, HttpRefused),
        (413, NEST, HttpRefused),
        (404, NEST, DeliveryDenied),
        (404, {"meta": None}, DeliveryDenied),
        (404, [], DeliveryDenied),
        (400, NEST, DeliveryDenied),
        (401, NEST, DeliveryDenied),
        (403, NEST, DeliveryDenied),
        (302, NEST, DeliveryDenied),
        (500, PROMPT, OneMaySpoil),
        (500, NEST, OneMaySpoil),
        (502, NEST, OutcomeUnknown),
        (503, NEST, DeliveryUnavailable),
        (429, NEST, DeliveryUnavailable),
    ],
)
async def test_each_answer_has_its_meaning(status: int, body: Any, meaning: type[Exception]) -> None:
    async with BackendQueue(BackendSettings(base_url="http://127.0.0.1:1/api/")) as queue:
        answer = HttpAnswer(status, httpx.Headers(), json.dumps(body).encode())
        error = queue.failure("POST queue/x", answer, write=True)
    assert type(error) is meaning
    assert getattr(error, "for_all", True), "a denial is no single thing's: the log would wait for it alone"
    if body is PROMPT:
        assert "building not found" in error.message
