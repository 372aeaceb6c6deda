"""The bridge from the operator's Kafka in the suite of all sources."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.rosdomofon.settings import RosDomofonKafkaSettings
from adapters.rosdomofon.twin.kafka import TwinOperator
from adapters.rosdomofon.twin.server import RosDomofonTwin
from streams.kafka.settings import KafkaSettings
from tests.contract.rosdomofon.test_bridge import Play
from tests.contract.suites.source import Scene, SourceSuite


@pytest.mark.integration
class TestRosDomofonBridge(SourceSuite):
    """A change is a message of an abonent."""

    @pytest.fixture(autouse=True)
    def _kafka(self, stack: Any) -> None:
        self.cluster = KafkaSettings(bootstrap_servers=stack.bootstrap_servers)

    @asynccontextmanager
    async def opened(self, folder: Path) -> AsyncIterator[Scene]:
        name = f"S_{secrets.token_hex(4)}"
        servers = self.cluster.bootstrap_servers
        settings = RosDomofonKafkaSettings(bootstrap_servers=servers, group_id=f"group-{name}", companies=(name,))
        async with RosDomofonTwin() as twin, TwinOperator(self.cluster, twin.operator, settings.companies) as said:
            play = Play(twin, said, settings)

            async def say(changes: Collection[str]) -> None:
                await play.says(*changes)

            yield Scene(say, play.bridge, play.ours.texts)
