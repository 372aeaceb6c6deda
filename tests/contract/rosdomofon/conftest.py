"""Fixtures of the RosDomofon contract tests."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.rosdomofon.settings import RosDomofonKafkaSettings
from adapters.rosdomofon.twin.kafka import TwinOperator
from adapters.rosdomofon.twin.server import RosDomofonTwin
from streams.kafka.settings import KafkaSettings
from tests.support.systems.rosdomofon_play import Play

pytestmark = pytest.mark.integration


@pytest.fixture
async def play(stack: Any) -> AsyncIterator[Play]:
    name = f"T_{secrets.token_hex(4)}"
    companies = (name, f"{name}.2")
    kafka = {"bootstrap_servers": stack.bootstrap_servers}
    settings = RosDomofonKafkaSettings(**kafka, group_id=f"group-{name}", companies=companies)
    async with (
        RosDomofonTwin() as twin,
        TwinOperator(KafkaSettings(**kafka), twin.operator, companies) as said,
    ):
        yield Play(twin, said, settings)
