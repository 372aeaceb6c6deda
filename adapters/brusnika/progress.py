"""The progress of a feed: counters, warnings about odd numbers, and the number to resume after next."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from loguru import logger

from adapters.brusnika.numbers import Marks, Taken, Verdict
from adapters.brusnika.position import LATEST_CHANGES, Gap, Position

LOGGED: Final = 100
"""Bad frames that are logged one by one; after them each hundredth, so that a broken feed does not fill the disk."""
LONG_FRAMES: Final = 200
"""Frames of one connection: more than any change is late."""
MOST_CONNECTIONS: Final = 8
"""Connections in a row that resume at the same point, other than the position, while they bring new changes."""
MOST_GAPS: Final = 100
"""Gaps given up that are remembered, to be shown and asked for again."""
MOST_REPEATS: Final = 50
"""Numbers in a row that had come before in the same connection, after which a warning is logged."""


@dataclass
class FeedStats:
    """Counters since the start of the process."""

    frames: int = 0
    rows: int = 0
    """Rows that need no more care: safe in the sink, or refused by it (these are also counted as bad)."""
    bad: int = 0
    """Frames answered by an error frame."""
    kept: int = 0
    """Refused frames that are kept as dead letters."""
    repeated: int = 0
    """Rows whose `update_id` had been taken before; they are passed on, the fold drops them."""
    far: int = 0
    """Numbers that stand far above the position and have not moved it."""
    below: int = 0
    """Rows whose `update_id` is not above the number resumed after; they are passed on, the fold drops duplicates."""
    missing: int = 0
    """Numbers given up because they never came; one that comes later is counted no more."""
    asked_again: int = 0
    """Connections closed to ask for missing changes again."""
    sessions: int = 0
    oversized: int = 0
    """Connections closed because of a frame above `HARD_LIMIT`."""
    connected: bool = False
    resumes: bool | None = None
    """Whether the server brings what comes after the number that it is asked after; None: not known yet."""
    problem: str = ""
    """Why the last connection could not be opened, or ended; empty while connected."""
    position: int | None = None


@dataclass
class Session:
    """The changes that one connection brought."""

    count: int = 0
    new: int = 0
    first: int | None = None
    """Number of the first numbered change."""
    last: tuple[str, int | None] = "", None
    """Type and number of the last change."""
    told: bool = False
    again: int = 0
    highest: dict[str, int] = field(default_factory=dict)

    def notice(self, word: str, number: int, verdict: Verdict, asked: int | None) -> bool:
        """Returns whether to warn, once, that numbers started again: they lie far below the number resumed after and
        none above it has come, or a whole row of them has come before in this connection."""
        passed = number <= self.highest.get(word, 0)
        self.again = self.again + 1 if passed and verdict is not Verdict.NEW else 0
        self.highest[word] = max(number, self.highest.get(word, 0))
        far = asked is not None and number <= max(asked // 2, asked - LATEST_CHANGES)
        begun = verdict is Verdict.BELOW and far and max(self.highest.values()) <= (asked or 0)
        if self.told or not (begun or self.again == MOST_REPEATS):
            return False
        self.told = True
        return True


class Progress:
    """Progress of the feed. ``left``: the saved position. ``of``: the same, with its reset and the number added to
    others."""

    def __init__(self, left: int | None, stats: FeedStats) -> None:
        self.of = Position.of(0 if left is None else left)
        self.stats = stats
        self._marks = Marks(left)
        self._session = Session()
        self._turn = 0
        """Index of the point to resume after; 0 is the position."""
        self._stayed = 0
        self._next_after: int | None = None
        """Number to resume after the next time, as the change after the position can't be read, or changes below it
        are asked for again."""
        self._given_up: deque[Gap] = deque(maxlen=MOST_GAPS)
        self._asked_for = 0
        """Highest missing number that was asked for again."""
        stats.position = None if left is None else int(left)

    @property
    def position(self) -> int | None:
        """Returns the number below which no change is pending."""
        return self._marks.position

    def now(self) -> Position | None:
        """Returns the position to save."""
        now = self._marks.position
        return None if now is None else Position(now, self._marks.apart, reset=self.of.reset, above=self.of.above)

    def take_turn(self, *, cut: bool = False) -> None:
        """Choose the number to resume after next.

        Changes behind a hole or far above the position never come if each connection is cut before them. So when one
        has brought nothing new, the next resumes after the highest number, then before each hole from above. A
        small hole that a long connection, or one that was ``cut``, has not filled although it was requested is given
        up, as retries could go on for ever.
        """
        session = self._session
        long = session.count >= LONG_FRAMES or (cut and session.count)
        if not self._turn and not session.new and long and (gap := self._marks.give_up()):
            self._report([gap])
            return
        points = self._points()
        if not points or not (self._turn or session.count) or (session.new and not self._turn):
            self._turn = self._stayed = 0
        elif session.new and self._stayed < MOST_CONNECTIONS:  # there may be more of it
            self._stayed += 1
        else:
            self._turn, self._stayed = (self._turn + 1) % len(points), 0

    def after(self) -> int | None:
        """Returns the number that the next connection resumes after."""
        points, after, self._next_after, self._session = self._points(), self._next_after, None, Session()
        if after is None:
            after = points[self._turn % len(points)] if points else self._marks.position
        self._marks.asked = after
        return after

    def _points(self) -> list[int]:
        first, *others = self._marks.points() or [-1]
        return [] if first < 0 else [first, *reversed(others)]

    def begin(self, first: int) -> None:
        """Note a number before its row is safe: a low one means that the feed has just begun."""
        self._marks.begin(first)
        self.stats.position = self.position

    def took(self, word: str, number: int | None) -> None:
        """Note that a change of a type is safe, or can never be."""
        self._session.count += 1
        if number is None:
            return
        self._notice_start(number)
        apart = bool(self._marks.apart)
        taken = self._marks.take(word, number)
        self._session.last = word, number
        self._count(word, number, taken)
        if self._marks.apart and not apart:
            self._tell_apart(word)

    def skip(self) -> int:
        """Skip the frame after the last one. Returns the number to resume after next."""
        word, last = self._session.last
        skipped, gaps = self._marks.skip(word, last)
        self._next_after = skipped
        self._report(gaps)
        return skipped

    def missing(self) -> list[tuple[Gap, bool]]:
        """Returns the numbers that are missing, each gap with whether it was asked for again: the lowest first."""
        found = sorted({*chain(self._given_up, self._marks.holes())})
        return [(gap, gap.last <= self._asked_for) for gap in found]

    def is_overdue(self) -> bool:
        """Returns whether a change is missing, while more later ones have come than any is late."""
        return bool(self._given_up) or self._session.count >= LONG_FRAMES

    def ask_again(self) -> bool:
        """Let the next connection ask for all missing changes that no connection has asked for again. Returns whether
        there are any: each is asked for once."""
        wanted = [gap for gap, asked in self.missing() if not asked]
        if not wanted:
            return False
        self._asked_for = wanted[-1].last
        if self.stats.resumes is False and (self._session.first or wanted[0].first) < wanted[0].first:
            return False  # this connection has brought all there is
        self._next_after = wanted[0].first - 1
        self.stats.asked_again += 1
        logger.warning(
            "changes of brusnika are missing: {} numbers from {} on; it is asked for them again",
            sum(gap.last - gap.first + 1 for gap in wanted), wanted[0].first,
        )  # fmt: skip
        return True

    def passed_over(self, word: str | None, number: int | None) -> None:
        """Note an unusable frame, whose change needs no more care."""
        self._session.count += 1
        if number is None:
            return
        taken = self._marks.fill(word, number)
        self._session.last = word or "", number
        self._report(taken.gaps)
        self._session.new += taken.verdict is Verdict.NEW

    def _count(self, word: str, number: int, taken: Taken) -> None:
        session, stats = self._session, self.stats
        session.new += taken.verdict in (Verdict.NEW, Verdict.FAR)
        if self._given_up and taken.verdict in (Verdict.REPEATED, Verdict.BELOW):
            self._found(number)
        stats.repeated += taken.verdict is Verdict.REPEATED
        stats.below += taken.verdict is Verdict.BELOW
        self._report(taken.gaps)
        if taken.verdict is Verdict.FAR:
            self._tell_far(word, number)
        if session.notice(word, number, taken.verdict, self._marks.asked):
            self._tell_anew(word, number)

    def _found(self, number: int) -> None:
        """Note that a number has come that was given up."""
        for gap in [gap for gap in self._given_up if gap.first <= number <= gap.last]:
            self._given_up.remove(gap)
            rest = Gap(gap.first, number - 1), Gap(number + 1, gap.last)
            self._given_up.extend(part for part in rest if part.first <= part.last)
            self.stats.missing -= 1

    def _notice_start(self, number: int) -> None:
        """Learn from the first changes of a connection whether the server resumes after a number at all."""
        session, asked = self._session, self._marks.asked
        if not asked:
            return
        if session.first is None:
            session.first = number
            if number == asked + 1:
                self.stats.resumes = True
        if session.first <= asked < number and self.stats.resumes is not False:
            self.stats.resumes = False
            logger.warning(
                "the brusnika feed can't resume: asked after {}, it begins with {}. All of it comes again with each "
                "connection; what is known is dropped", asked, session.first,
            )  # fmt: skip

    def _tell_far(self, word: str, number: int) -> None:
        if self.stats.far <= LOGGED:
            logger.warning(
                "the number {} of a {} is far from the others: it is taken, but the brusnika feed is still asked after "
                "{}. If the numbering really went on there: `kounter feed reset --to {}`",
                number, word, self.stats.position, number,
            )  # fmt: skip

    def _tell_apart(self, word: str) -> None:
        logger.warning(
            "the types of the brusnika feed are numbered apart ({} has numbers of another type): it is asked after the "
            "lowest from now on, so that more comes again after each cut: {}",
            word, self._marks.apart,
        )  # fmt: skip

    def _tell_anew(self, word: str, number: int) -> None:
        logger.warning(
            "the brusnika feed was asked after {} and brings {} of a {}: its counter may have begun anew (a restored "
            "backup?). What lies below is dropped where a newer change is known. `kounter feed reset --anew` takes all "
            "of it from the beginning, as newer than what came before",
            self._marks.asked, number, word,
        )  # fmt: skip

    def _report(self, gaps: Sequence[Gap]) -> None:
        self._given_up.extend(gaps)
        for gap in gaps:
            self.stats.missing += gap.last - gap.first + 1
            logger.warning("changes {} to {} of brusnika never came", gap.first, gap.last)
        position = self.position
        self.stats.position, self.stats.far = None if position is None else int(position), self._marks.far
