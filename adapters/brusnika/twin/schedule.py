"""Free times for visits, as the CRM of the twin's company answers ``FreeTime`` (docs/contracts/brusnika.md#slots)."""

from __future__ import annotations

import datetime
import random
from typing import Any, Final

STARTS: Final = ("10:00", "11:30", "13:00", "14:30", "16:00")
DAYS: Final = 7
MINUTES: Final = 90


class Schedule:
    """The free times of each project and kind of premises. They have no ids."""

    def __init__(self, seed: int, first_day: datetime.date) -> None:
        self._seed, self._first_day = seed, first_day
        self._taken: set[tuple[str, str, str, str]] = set()

    def take(self, project: str, kind: str, day: str, start: str) -> None:
        """Take a time, which is then no longer answered."""
        self._taken.add((project, kind, day, start))

    def answer(self, body: Any) -> list[dict[str, list[dict[str, str]]]] | None:
        """Returns the answer to a request, None for one that is not understood."""
        if not isinstance(body, dict) or body.get("requestType") != "schedule" or body.get("type") != "offline":
            return None
        project, kind = body.get("project"), body.get("premisesKind")
        if not isinstance(project, str) or not isinstance(kind, str):
            return None
        days = (self._first_day + datetime.timedelta(days=n) for n in range(DAYS))
        return [{day.isoformat(): self._of(project, kind, day.isoformat())} for day in days]

    def _of(self, project: str, kind: str, day: str) -> list[dict[str, str]]:
        pick = random.Random(f"{self._seed}/{project}/{kind}/{day}")
        starts = sorted(pick.sample(STARTS, pick.randint(2, len(STARTS))))
        return [{"start": s, "end": _later(s)} for s in starts if (project, kind, day, s) not in self._taken]


def _later(start: str) -> str:
    minutes = int(start[:2]) * 60 + int(start[3:]) + MINUTES
    return f"{minutes // 60:02}:{minutes % 60:02}"
