"""A Kafka for files whose topics are one for all: what other tests leave there would be sent and counted too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kounter.embedded.ports import free_port
from kounter.embedded.stack import EmbeddedStack


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """A Kafka and a registry of this file's own."""
    with EmbeddedStack(tmp_path_factory.mktemp("stack"), free_port(), free_port()) as running:
        yield running
