"""The number and the age of what waits, in a commit's metadata."""

from __future__ import annotations

import pytest
from aiokafka.structs import OffsetAndMetadata

from streams.backend_log.backlog import Backlog


@pytest.mark.parametrize("backlog", [Backlog(), Backlog(3, 1_732_550_000_000)])
def test_a_commit_carries_the_backlog(backlog: Backlog) -> None:
    committed = backlog.at(17)
    assert committed.offset == 17
    assert Backlog.of(committed) == backlog


@pytest.mark.parametrize(
    "text", ["", None, "waiting=1", "waiting=1;oldest_ms=-1", "waiting=x;oldest_ms=1", "9" * 5_000]
)
def test_other_metadata_is_no_backlog(text: str) -> None:
    assert Backlog.of(OffsetAndMetadata(1, text)) == Backlog()
    assert Backlog.of(None) == Backlog()


def test_the_age_of_the_oldest() -> None:
    assert Backlog().age_s(5_000) == 0
    assert Backlog(1, 2_000).age_s(5_500) == 3.5
    assert Backlog(1, 9_000).age_s(5_500) == 0
