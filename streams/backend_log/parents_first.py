"""The order of the numbered log: which changes an arrival lets through. Pure: no I/O, time comes as an argument.

A change goes when all its parents are in the log, and never before an earlier change of its subject. One whose parents
are there and whose references are not goes after ``wait_ms``, as a deployment may never send those.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from schemas.backend import BackendChange

WAIT_MS: Final = 60_000
MOST_WOKEN: Final = 5_000
"""Changes of a batch beyond its arrivals. A city that comes last lets a whole company through, and a transaction of
that size would run into its timeout; the rest stays held, and goes with the next batches.
"""
_new: Final[Callable[[type[Held], Any], Held]] = tuple.__new__  # half the time of the class's own


Headers = tuple[tuple[str, bytes], ...]


class Held(NamedTuple):
    """A change on its way into the log."""

    number: int
    """The place in the order of arrival, from 1 on, also over restarts."""
    since_ms: int
    change: BackendChange
    headers: Headers = ()
    """The headers of its record, for the event that it becomes."""
    at_ms: int = 0
    """The time of its record."""


class Effects(NamedTuple):
    """The net changes to memory by a batch: a change that was held and went within the batch is not in it."""

    written: tuple[str, ...]
    """Subjects that are in the log since this batch."""
    held: tuple[Held, ...]
    """Changes that are held since this batch."""
    gone: tuple[int, ...]
    """Numbers of changes that were held before it and went."""


class ParentsFirst:
    """The changes that wait, and the rule that lets them go. After a batch whose commit failed, build another one from
    memory."""

    def __init__(
        self,
        is_stored: Callable[[str], bool],
        held: Iterable[Held] = (),
        *,
        wait_ms: int = WAIT_MS,
        most: int = MOST_WOKEN,
    ) -> None:
        """``is_stored``: whether memory has a subject as written. ``held``: what memory holds, in order of arrival."""
        self._is_stored, self._wait_ms, self._most = is_stored, wait_ms, most
        self._queues: dict[str, deque[Held]] = {}
        """Waiting changes by subject."""
        self._waiting: dict[str, dict[str, None]] = {}
        """Subjects by the missing subject that their first change waits for."""
        self._due: list[tuple[int, str]] = []
        """A heap of times at which the first change of a subject goes without its references."""
        self._woken: deque[str] = deque()
        """Subjects whose first change may go, or has to be looked at."""
        self._room = most
        self._new: dict[str, None] = {}
        self._held: dict[int, Held] = {}
        self._gone: list[int] = []
        self.last = 0
        """Number of the last arrival that was held, in any batch."""
        self.sent_without = 0
        """Changes that went without all that they refer to."""
        for one in held:
            self.last = max(self.last, one.number)
            self._queues.setdefault(one.change.subject, deque()).append(one)
        for subject, queue in self._queues.items():
            if absent := self._absent(queue[0].change):
                self._wait(queue[0], absent)
            else:  # there was no room for it
                self._woken.append(subject)

    def __len__(self) -> int:
        """Returns the number of changes that wait."""
        return sum(map(len, self._queues.values()))

    @property
    def oldest_ms(self) -> int | None:
        """Returns since when the longest waiting change is held; None if none is."""
        return min((queue[0].since_ms for queue in self._queues.values()), default=None)

    def take(self, change: BackendChange, now_ms: int, headers: Headers = (), at_ms: int = 0) -> list[Held]:
        """Returns the changes that may go now that this one has come, in their order: none, it, or it and others."""
        subject = change.subject
        arrived = _new(Held, (self.last + 1, now_ms, change, headers, at_ms))
        queue = self._queues.get(subject)
        absent: Sequence[str] = () if queue else self._absent(change)
        if not queue and not absent and subject not in self._waiting:  # as almost all: the rest is `_write`, shorter
            if subject not in self._new and not self._is_stored(subject):
                self._new[subject] = None
            return [arrived]
        if not queue and (not absent or not self._holds(arrived, absent, now_ms)):
            out: list[Held] = []
            if woken := self._write(arrived, absent, out):
                self._woken.extend(woken)
                self._run(now_ms, out)
            return out
        self.last += 1
        self._held[arrived.number] = arrived
        if queue:
            queue.append(arrived)
        else:
            self._queues[subject] = deque([arrived])
            self._wait(arrived, absent)
        return []

    def expire(self, now_ms: int) -> list[Held]:
        """Returns the changes that have waited for their references for long enough, and those for which there was no
        room."""
        out: list[Held] = []
        while self._due and self._due[0][0] <= now_ms:
            self._woken.append(heapq.heappop(self._due)[1])
        self._run(now_ms, out)
        return out

    def release(self, subject: str, now_ms: int) -> list[Held]:
        """Returns all that is held of a subject, whatever it waits for, and what that lets through."""
        out: list[Held] = []
        for one in self._queues.pop(subject, ()):
            self._woken.extend(self._write(one, self._absent(one.change), out))
        self._run(now_ms, out)
        return out

    def effects(self) -> Effects:
        """Returns what memory must take over with the changes that went since `settle`."""
        return Effects(tuple(self._new), tuple(self._held.values()), tuple(self._gone))

    def settle(self) -> None:
        """Memory has the effects; a new batch begins."""
        self._new, self._held, self._gone, self._room = {}, {}, [], self._most

    def _run(self, now_ms: int, out: list[Held]) -> None:
        """Let go what may go of the woken subjects, then of those that wait for them, and so on, while there is
        room."""
        work = self._woken
        while work and self._room > 0:
            subject = work.popleft()
            queue = self._queues.get(subject)
            while queue:
                first = queue[0]
                absent = self._absent(first.change)
                if self._holds(first, absent, now_ms):
                    self._wait(first, absent)
                    break
                if self._room <= 0:
                    work.appendleft(subject)
                    return
                self._room -= 1
                work.extend(self._write(queue.popleft(), absent, out))
            if queue is not None and not queue:
                self._queues.pop(subject, None)

    def _write(self, one: Held, absent: Iterable[str], out: list[Held]) -> Iterable[str]:
        """Let a change go, without those that are ``absent``. Returns the subjects that waited for its subject."""
        out.append(one)
        subject = one.change.subject
        if one.number <= self.last and self._held.pop(one.number, None) is None:  # an arrival that was held
            self._gone.append(one.number)
        if absent:
            self.sent_without += 1
            for other in absent:
                self._waiting.get(other, {}).pop(subject, None)
        if self._is_written(subject):
            return ()
        self._new[subject] = None
        return self._waiting.pop(subject, ())

    def _absent(self, change: BackendChange) -> Sequence[str]:
        """Returns the subjects that a change needs or refers to and that are not in the log."""
        if not (wanted := change.parents + change.references if change.references else change.parents):
            return ()
        new, is_stored, own = self._new, self._is_stored, change.subject
        return [s for s in wanted if s not in new and s != own and not is_stored(s)]

    def _holds(self, one: Held, absent: Sequence[str], now_ms: int) -> bool:
        """Returns whether a change waits for any of ``absent`` at this time."""
        if not absent:
            return False
        return now_ms < one.since_ms + self._wait_ms or any(s in one.change.parents for s in absent)

    def _wait(self, first: Held, absent: Iterable[str]) -> None:
        subject = first.change.subject
        for other in absent:
            self._waiting.setdefault(other, {})[subject] = None
        if first.change.references:
            heapq.heappush(self._due, (first.since_ms + self._wait_ms, subject))

    def _is_written(self, subject: str) -> bool:
        return subject in self._new or self._is_stored(subject)
