"""What all tests share: a real Kafka and registry, started once a test process, when its first test asks for them; and
what a unit test may cost."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from hypothesis import HealthCheck, settings

from kounter.embedded import broker
from kounter.embedded import stack as embedded
from kounter.embedded.ports import free_port
from kounter.embedded.stack import EmbeddedStack
from tests.support import sessions

# On a shared machine an example may take as long as it takes.
SHARED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", SHARED, max_examples=25)
settings.register_profile("thorough", SHARED, max_examples=2_000)
PROFILE: Final = os.environ.get("HYPOTHESIS_PROFILE", "quick")
settings.load_profile(PROFILE)

UNIT: Final = Path(__file__).parent / "unit"
UNIT_CPU_S: Final = 1.0
"""A unit test may compute for so long; a wait for others on the machine does not count."""
LOOP_CPU_S: Final = 0.012
"""CPU seconds of `slowness`'s loop on the machine where the limit was set; on a busy or slower one all takes longer."""


class Stack(NamedTuple):
    """Addresses of the parts."""

    bootstrap_servers: str
    registry_url: str


class QuickBroker(broker.Broker):
    """Takes sessions of a second and more; it is a user's broker otherwise."""

    def _properties(self) -> str:
        return super()._properties() + "group.min.session.timeout.ms=1000\n"


def pytest_configure() -> None:
    """A Kafka that somebody else runs takes no short sessions."""
    if "KOUNTER_TEST_KAFKA" not in os.environ:
        embedded.Broker = broker.Broker = QuickBroker  # type: ignore[misc, attr-defined]
        sessions.shorten()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Raises UsageError if a unit test needs Kafka: `make test` looks for such tests elsewhere only."""
    for item in items:
        if UNIT in item.path.parents and any(map(item.get_closest_marker, ("integration", "chaos"))):
            raise pytest.UsageError(f"{item.nodeid} needs Kafka: it belongs to tests/integration")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fails a unit test that computes for too long; not in the thorough form, which tries 80 times as many examples."""
    began = time.process_time()
    yield
    used = time.process_time() - began
    if UNIT in item.path.parents and PROFILE == "quick" and used > UNIT_CPU_S and used > UNIT_CPU_S * slowness():
        pytest.fail(f"took {used:.1f} CPU s, a unit test may take {UNIT_CPU_S:.0f}: make it smaller, or no unit test")


def slowness() -> float:
    """Returns how much longer this machine computes just now than the one where the limit was set; at least 1.0."""
    began = time.process_time()
    sum(n * n for n in range(300_000))
    return max(1.0, (time.process_time() - began) / LOOP_CPU_S)


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A data folder belongs to one Kafka: no test works in the user's own."""
    if "KOUNTER_DATA_DIR" not in os.environ:
        monkeypatch.setenv("KOUNTER_DATA_DIR", str(tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """``KOUNTER_TEST_KAFKA`` and ``KOUNTER_TEST_REGISTRY`` name running ones to use instead, while developing."""
    if kafka := os.environ.get("KOUNTER_TEST_KAFKA"):
        yield Stack(kafka, os.environ["KOUNTER_TEST_REGISTRY"])
        return
    with EmbeddedStack(tmp_path_factory.mktemp("stack"), free_port(), free_port()) as running:
        yield Stack(running.bootstrap_servers, running.registry_url)
