"""The state of a feed, as it is shown."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from adapters.brusnika.status import lines_of, status_of
from tests.support.systems.brusnika import Shell


def test_a_feed_that_never_ran() -> None:
    assert lines_of(None, datetime.now(UTC)) == ["brusnika: the feed has never run"]


async def test_gaps_framing_and_problem_are_shown() -> None:
    feed = Shell().feed("ws://127.0.0.1:1/", framing="nest")
    feed.progress.begin(1)
    for number in (1, 2, 5, 9):
        feed.progress.took("city", number)
    feed.progress.ask_again()
    feed.progress.took("city", 12)
    feed.stats.problem, feed.stats.resumes = "HTTP 404", False
    status = json.loads(json.dumps(status_of(feed)))
    assert status["gaps"] == [[3, 4, True], [6, 8, True], [10, 11, False]]
    shown = "\n".join(lines_of(status, datetime.now(UTC) + timedelta(seconds=5)))
    for part in (
        "not connected: HTTP 404", "framing    nest", "update_id 2", "ignores the number", "7 numbers in 3 gaps",
        "3 to 4, asked for again, never came", "10 to 11, to be asked for again",
    ):  # fmt: skip
        assert part in shown
