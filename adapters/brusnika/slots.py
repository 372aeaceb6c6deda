"""Free times for visits, asked for again and again: differences become records of time slots
(docs/contracts/brusnika.md#slots).

A time has no id there, so ours follows from project, kind, date and start. A time that is no longer free is booked; one
whose day has passed is forgotten. An answer that is not understood changes nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from loguru import logger

from adapters.brusnika.settings import SlotSettings
from adapters.http_client import HttpClient
from schemas.bookings import ReportTimeSlot
from schemas.errors import DeliveryDenied, DeliveryError, InvalidInput
from schemas.external import parse_json

PATH: Final = "/crm/hs/ofo/FreeTime"
TIMEOUT_S: Final = 30.0
MOST_DAYS, MOST_TIMES, MOST_ID = 400, 200, 255
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Free(NamedTuple):
    """A free time of a project and a kind of premises."""

    day: str
    """ISO date."""
    start: str
    """``HH:MM``."""


Known = dict[str, list[Free]]
"""Free times by `place_of`."""
Send = Callable[[Sequence[ReportTimeSlot]], Awaitable[Sequence[InvalidInput | None]]]


def place_of(project: str, kind: str) -> str:
    """Returns the name of a project's times of a kind."""
    return f"{project}/{kind}"


def slot_id(place: str, free: Free) -> str:
    """Returns our id of a time."""
    return f"{place}/{free.day}/{free.start}"


def read_schedule(answer: object) -> dict[str, list[Free]]:
    """Returns the free times of each day that an answer names. Raises InvalidInput."""
    if not isinstance(answer, list) or len(answer) > MOST_DAYS:
        raise InvalidInput("schedule", f"a list of at most {MOST_DAYS} days", type(answer).__name__)
    found: dict[str, list[Free]] = {}
    for n, days in enumerate(answer):
        if not isinstance(days, dict):
            raise InvalidInput(f"[{n}]", "an object of a day", days)
        for day, times in days.items():
            _check_day(f"[{n}]", day)
            if not isinstance(times, list) or len(times) > MOST_TIMES:
                raise InvalidInput(f"[{n}].{day}", f"a list of at most {MOST_TIMES} times", times)
            found.setdefault(day, []).extend(_free(f"[{n}].{day}[{i}]", day, time) for i, time in enumerate(times))
    return found


def _check_day(place: str, day: str) -> None:
    try:
        if _DAY.fullmatch(day) and date.fromisoformat(day):
            return
    except ValueError:
        pass
    raise InvalidInput(place, "a date, YYYY-MM-DD", day)


def _free(place: str, day: str, time: object) -> Free:
    start = time.get("start") if isinstance(time, dict) else None
    if not isinstance(start, str) or not _TIME.fullmatch(start):
        raise InvalidInput(f"{place}.start", "a time, HH:MM", start)
    return Free(day, start)


def differences(
    place: str, before: Collection[Free], schedule: Mapping[str, Sequence[Free]]
) -> tuple[list[ReportTimeSlot], list[Free]]:
    """Returns the records of what has changed, and the free times that are known now.

    A day that the answer does not name keeps what is known, unless it lies before all that it names.
    """
    if not schedule:
        return [], list(before)
    first = min(schedule)
    now = {free for times in schedule.values() for free in times}
    kept = {free for free in before if free.day not in schedule and free.day >= first}
    rows = [_row(place, free, is_booked=False) for free in sorted(now - set(before))]
    rows += [_row(place, free, is_booked=True) for free in sorted(before) if free.day in schedule and free not in now]
    return rows, sorted(now | kept)


def _row(place: str, free: Free, *, is_booked: bool) -> ReportTimeSlot:
    return ReportTimeSlot(slot_id(place, free), date=free.day, time=free.start, is_booked=is_booked)


class SlotPoller:
    """Asks for the times of all projects every ``every_s`` seconds, for ever.

    ``projects``: returns the projects to ask for. ``load`` and ``save`` keep what is known across restarts; it is saved
    after the records are safe, so that a crash repeats some, which change nothing.
    """

    def __init__(
        self,
        settings: SlotSettings,
        http: HttpClient,
        projects: Callable[[], Awaitable[Collection[str]]],
        send: Send,
        load: Callable[[], Awaitable[Known]],
        save: Callable[[str, Sequence[Free]], Awaitable[None]],
    ) -> None:
        self._settings, self._http, self._projects = settings, http, projects
        self._send, self._load, self._save = send, load, save
        self._known: Known = {}
        self.rounds = 0

    async def run(self) -> None:
        """Poll until cancelled. Raises DeliveryDenied for a wrong key; any other failure is logged and tried again."""
        self._known = await self._load()
        while True:
            await self._round()
            self.rounds += 1
            await asyncio.sleep(self._settings.every_s)

    async def _round(self) -> None:
        for project in sorted(await self._projects()):
            for kind in self._settings.kinds:
                try:
                    await self.poll(project, kind)
                except DeliveryDenied:
                    raise
                except (DeliveryError, InvalidInput) as error:
                    logger.warning("the free times of {} {} are as they were: {}", project, kind, error.message)

    async def poll(self, project: str, kind: str) -> int:
        """Ask for the times of a project and kind. Returns the number of records.

        Raises DeliveryError, InvalidInput for an answer that is not understood.
        """
        place = place_of(project, kind)
        if len(place) > MOST_ID - len("/2026-01-01/00:00"):
            raise InvalidInput("project", f"an id of fewer than {MOST_ID} characters with its kind and time", project)
        body = {"requestType": "schedule", "type": "offline", "project": project, "premisesKind": kind}
        answer = await self._http.request("POST", PATH, write=False, json=body)
        schedule = read_schedule(parse_json(answer.content, max_bytes=len(answer.content)))
        rows, now = differences(place, self._known.get(place, ()), schedule)
        if rows:
            for wrong in filter(None, await self._send(rows)):
                raise wrong
        if now != self._known.get(place):
            await self._save(place, now)
            self._known[place] = now
        return len(rows)
