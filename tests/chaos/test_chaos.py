"""The short form: each kind of fault once. ``make chaos`` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.course import Course
from tests.chaos.faults import SHORT


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_nothing_is_lost_doubled_or_misordered_whatever_dies(tmp_path: Path) -> None:
    lines: list[str] = []
    course = Course(tmp_path, SHORT, brokers=1, rate=300, seed=3, standby=1, say=lines.append)
    try:
        result, verdict = await course.run()
    except Exception as error:
        error.add_note("\n".join([*lines, *course.arena.ends()]))
        raise
    report = "\n".join(["", *lines, *course.arena.ends()])
    assert (result.lost, result.doubled, result.misordered) == (0, 0, 0), report
    assert verdict.records > 5_000, report
    assert verdict.outputs > 2_000, report
    assert verdict.stores >= 16, report
