"""What a portal worked for us: counted by method and minute, so that no limit is run into."""

from __future__ import annotations

import pytest

from adapters.bitrix24.rest.operating_time import BLOCKED_S, SETTLE_S, OperatingTime

MINUTE = 60.0
BEGIN = 1_800_000_000.0
"""Of a slot."""


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def operating(clock: Clock) -> OperatingTime:
    return OperatingTime(clock)


def test_the_portals_sum_counts_until_it_forgets_a_part(operating: OperatingTime, clock: Clock) -> None:
    operating.learn(
        "crm.lead.add", {"operating": 450.0, "duration": 0.3, "operating_reset_at": BEGIN + 40, "finish": BEGIN}
    )
    assert operating.wait("crm.lead.add") == 0
    operating.learn(
        "crm.lead.add", {"operating": 460.0, "duration": 0.3, "operating_reset_at": BEGIN + 40, "finish": BEGIN}
    )
    assert operating.wait("crm.lead.add") == 40
    assert operating.wait("crm.lead.get") == 0, "each method has its own"
    clock.now += 40
    assert operating.wait("crm.lead.add") == 0, "now the next answer tells"


def test_our_own_sum_counts_where_the_portal_tells_of_one_call_only(operating: OperatingTime, clock: Clock) -> None:
    for _ in range(9):
        operating.learn("crm.lead.add", {"operating": 50.0, "duration": 50.1})
        assert operating.wait("crm.lead.add") == 0
        clock.now += MINUTE
    operating.learn("crm.lead.add", {"operating": 50.0, "duration": 50.1})
    assert operating.wait("crm.lead.add") == MINUTE
    clock.now += MINUTE
    assert operating.wait("crm.lead.add") == 0


def test_what_is_under_way_counts(operating: OperatingTime) -> None:
    for _ in range(20):
        operating.learn("m", {"operating": 20.0, "duration": 20.0})
    assert operating.wait("m") == 0
    operating.begin("m")
    operating.begin("m")
    assert operating.wait("m") == SETTLE_S
    operating.end("m")
    operating.end("m")
    assert operating.wait("m") == 0


def test_one_slow_call_does_not_hold_up_many(operating: OperatingTime) -> None:
    for _ in range(50):
        operating.learn("m", {"operating": 0.1, "duration": 0.1})
        operating.begin("m")
    operating.learn("m", {"operating": 50.0, "duration": 50.0})
    assert operating.wait("m") == 0


def test_a_block_lasts_as_long_as_the_portal_says(operating: OperatingTime, clock: Clock) -> None:
    assert operating.blocked("a", None) == BLOCKED_S
    operating.learn("b", {"operating_reset_at": BEGIN + 90, "finish": BEGIN})
    assert operating.blocked("b", None) == 90
    assert operating.blocked("c", 7.0) == 7
    clock.now += 8
    assert [operating.wait(method) for method in "abc"] == [52, 82, 0]


@pytest.mark.parametrize("times", [None, [], {}, {"operating": "1"}, {"operating": True, "operating_reset_at": None}])
def test_a_time_that_says_nothing(operating: OperatingTime, times: object) -> None:
    operating.learn("m", times)
    assert operating.wait("m") == 0


@pytest.mark.parametrize("ahead", [-3_000.0, 3_000.0, 1e12])
def test_the_portals_clock_may_differ_from_ours(operating: OperatingTime, ahead: float) -> None:
    """A method waited for as long as the clocks differed."""
    times = {"operating": 460.0, "duration": 0.3, "operating_reset_at": BEGIN + ahead + 40, "finish": BEGIN + ahead}
    operating.learn("m", times)
    assert operating.wait("m") == pytest.approx(40)


def test_no_reset_lies_behind_the_portals_ten_minutes(operating: OperatingTime) -> None:
    operating.learn("m", {"operating": 460.0, "duration": 0.3, "operating_reset_at": BEGIN + 3_000, "finish": BEGIN})
    assert operating.wait("m") == 600
