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
"""The aim: CPU seconds of a unit test; a wait for others on the machine does not count. A run names those above it."""
UNIT_CPU_MOST_S: Final = 3.0
"""CPU seconds, times `slowness`, above which a unit test fails. Three times the aim, because CPU seconds are no exact
measure: on a CI machine that others share, caches and the other half of a core are theirs, and the same test once took
1.2 s instead of 0.6. Noise must never fail a run; an algorithm that grew from n to n squared takes far longer."""
CPU_S: Final = "cpu_s"
LOOP_CPU_S: Final = 0.012
"""CPU seconds of `slowness`'s loop where the limits were set; all takes longer on a busy or slower one."""


class Stack(NamedTuple):
    """Addresses of the parts."""

    bootstrap_servers: str
    registry_url: str


class QuickBroker(broker.Broker):
    """Takes sessions of a second and more; it is a user's broker otherwise."""

    def _properties(self) -> str:
        return super()._properties() + "group.min.session.timeout.ms=1000\n"


def pytest_configure() -> None:
    """A Kafka that somebody else runs takes no short sessions. The width that xdist sets would fold long lines."""
    os.environ.pop("COLUMNS", None)
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
    """Fails a unit test that computes for far too long; the thorough form, with 80 times the examples, has no limit."""
    began = time.process_time()
    yield
    used = time.process_time() - began
    if UNIT not in item.path.parents or PROFILE != "quick" or used <= UNIT_CPU_S:
        return
    item.user_properties.append((CPU_S, used))
    # The slowness is measured only after the test that took long: a machine may become busy at any time.
    if used > UNIT_CPU_MOST_S and used > UNIT_CPU_MOST_S * slowness():
        pytest.fail(
            f"took {used:.1f} CPU s, a unit test should take {UNIT_CPU_S:.0f}: make it smaller, or no unit test"
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names the unit tests above the aim."""
    reports = [report for some in terminalreporter.stats.values() for report in some]
    cpu = {r.nodeid: dict(r.user_properties).get(CPU_S) for r in reports if isinstance(r, pytest.TestReport)}
    if above := sorted(((used, test) for test, used in cpu.items() if used), reverse=True):
        terminalreporter.section(f"unit tests above {UNIT_CPU_S:.0f} CPU s")
        for used, test in above:
            terminalreporter.write_line(f"{used:.1f} CPU s {test}")


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
