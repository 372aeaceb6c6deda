"""The number that the feed is resumed after, robust against odd numbers among those that come.

docs/contracts/brusnika.md#numbers: the source numbers changes by `update_id` and does not say whether all types share
one counter. So a number far above the others is no proof that those between came: it opens a *run* of its own, and the
feed is resumed from the lowest run. Where two types use the same number for different changes, each type has a counter
of its own and is followed alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from adapters.brusnika.position import LATEST_CHANGES, Gap, Position, Watermark

REACH: Final = LATEST_CHANGES
"""Distance above which a number opens a run of its own: no counter leaves a gap so large."""
MOST_RUNS: Final = 100
"""Runs that are followed. Beyond them the one with the fewest numbers is dropped; its numbers then count as new when
they come again."""


class Verdict(Enum):
    """The relation of a number to those before it."""

    NEW = auto()
    FAR = auto()
    """New, and far above the others: it opened a run."""
    REPEATED = auto()
    BELOW = auto()
    """Not above the number that the feed was resumed after."""


class Taken(NamedTuple):
    verdict: Verdict
    gaps: tuple[Gap, ...] = ()
    """Numbers that are given up."""


@dataclass
class _Run:
    """A run of numbers that are near each other."""

    start: int
    """The number below the first."""
    mark: Watermark
    highest: int
    count: int = 0

    @property
    def value(self) -> int:
        assert self.mark.value is not None  # `_open` has set it
        return self.mark.value


class Numbers:
    """The runs of one counter. ``value``: its saved position, None if it is followed for the first time."""

    def __init__(self, value: int | None = None) -> None:
        self._left = value or None  # 0 is where every counter begins
        self._runs = [] if self._left is None else [_Run(self._left, Watermark(self._left), self._left)]

    @property
    def value(self) -> int | None:
        """Returns the highest number up to which all have come; None before the first number that a second one
        confirms."""
        if not self._runs or (self._left is None and self.low and all(run.count < 2 for run in self._runs)):
            return None
        return self._runs[0].value

    @property
    def low(self) -> int:
        """Returns the number below all that were taken."""
        return self._runs[0].start if self._runs else 0

    @property
    def far(self) -> int:
        """Returns the number of runs above the lowest one."""
        return max(0, len(self._runs) - 1)

    def begin(self, first: int) -> None:
        """Note a first number so low that the counter must have just begun; without effect on any other."""
        if not self._runs and 0 < first <= LATEST_CHANGES:
            self._open(0, first)

    def take(self, number: int) -> Taken:
        """Note a change that was taken."""
        at = self._place(number)
        if at < 0 and self._left is not None:
            return Taken(Verdict.BELOW)
        far = at < 0 or number - self._runs[at].highest > REACH
        if far:
            at += 1
            self._open(at, number)
        run = self._runs[at]
        new, gap = run.mark.take(number)
        run.count += new
        run.highest = max(run.highest, number)
        gaps = [gap] if gap else []
        if at and self._near(at - 1):
            at -= 1
            gaps += self._join(at)
        while at + 1 < len(self._runs) and self._near(at):
            gaps += self._join(at)
        self._forget_most()
        first = far and len(self._runs) > 1 and run in self._runs
        verdict = Verdict.FAR if first else Verdict.NEW if new else Verdict.REPEATED
        return Taken(verdict, tuple(gaps))

    def fill(self, number: int) -> Taken:
        """Note the number of an unusable change: it counts as taken, but never begins a run."""
        at = self._place(number)
        if at < 0 or number - self._runs[at].highest > REACH:
            return Taken(Verdict.REPEATED)
        return self.take(number)

    def give_up(self) -> Gap | None:
        """Give up the lowest missing numbers, if others near them have come. Returns them."""
        return self._runs[0].mark.give_up() if self._runs else None

    def points(self) -> list[int]:
        """Returns numbers to resume after: the lowest, then one before each further hole. With short connections,
        changes behind a hole would never come otherwise."""
        found = [point for run in self._runs for point in (run.value, *run.mark.islands())]
        return found if self.value is not None else []

    def holes(self) -> list[Gap]:
        """Returns the missing numbers near others that have come."""
        return [hole for run in self._runs for hole in run.mark.holes()]

    def skip(self, last: int | None) -> tuple[int, list[Gap]]:
        """Skip the one change that follows ``last``. Returns the number to resume after, and the gaps given up."""
        if not self._runs:
            self._open(0, 1)
        run = self._runs[max(0, self._place(last))] if last is not None else self._runs[0]
        gaps = []
        while gap := run.mark.give_up():
            gaps.append(gap)
        skipped = run.mark.skip()
        run.highest = max(run.highest, skipped)
        return skipped, gaps

    def run_value(self, number: int) -> int:
        """Returns the mark of the run that a number is in."""
        return self._runs[max(0, self._place(number))].value

    def _place(self, number: int) -> int:
        """Returns the index of the only run that a number can be in; -1 if it is below all."""
        return sum(run.start < number for run in self._runs) - 1

    def _open(self, at: int, number: int) -> None:
        start = 0 if at == 0 and 0 < number <= LATEST_CHANGES else number - 1
        self._runs.insert(at, _Run(start, Watermark(start), start))

    def _near(self, at: int) -> bool:
        return self._runs[at + 1].start - self._runs[at].highest <= REACH

    def _join(self, at: int) -> list[Gap]:
        """Join two runs that now touch. Returns the gaps given up."""
        low, high = self._runs[at], self._runs.pop(at + 1)
        gaps: list[Gap] = []
        if high.count > LATEST_CHANGES:  # numbers missing below it were waited for long enough
            while gap := low.mark.give_up():
                gaps.append(gap)
            if low.value < high.start:
                gaps.append(Gap(low.value + 1, high.start))
            low.mark = high.mark
        else:
            for number in (*range(high.start + 1, high.value + 1), *high.mark.above()):
                if gap := low.mark.take(number)[1]:
                    gaps.append(gap)
        low.count += high.count
        low.highest = max(low.highest, high.highest)
        return gaps

    def _forget_most(self) -> None:
        if len(self._runs) > MOST_RUNS:
            self._runs.remove(min(self._runs[1:], key=lambda run: run.count))


class Marks:
    """All numbers of the feed: one counter for all types, until two types prove to have one each."""

    def __init__(self, left: int | None = None) -> None:
        self._shared = Numbers(left)
        apart = Position.of(0 if left is None else left).apart
        self._apart = {word: Numbers(value) for word, value in apart.items()} if apart else None
        self._highest: dict[str, int] = {}
        self._passed: deque[Gap] = deque(maxlen=LATEST_CHANGES)
        """Numbers given up, which may still come late."""
        self.asked: int | None = None
        """The number that the connection was resumed after."""

    @property
    def position(self) -> int | None:
        """Returns the number to resume after so that no pending change is left out."""
        if self._apart is None:
            return self._shared.value
        return Position(min(values), self.apart) if (values := list(self.apart.values())) else None

    @property
    def apart(self) -> dict[str, int]:
        """Returns the position of each type, if each has a counter of its own."""
        return {w: n.low if n.value is None else n.value for w, n in (self._apart or {}).items()}

    @property
    def far(self) -> int:
        """Returns the number of runs above the position."""
        return sum(numbers.far for numbers in self._all())

    def begin(self, first: int) -> None:
        """Note a first number, as `Numbers.begin`."""
        if self._apart is None:
            self._shared.begin(first)

    def take(self, word: str, number: int) -> Taken:
        """Note a change of a type that was taken."""
        if number < 1:  # no counter's
            return Taken(Verdict.REPEATED)
        if self.asked is not None and number <= self.asked and number <= (self.position or 0):
            return Taken(Verdict.BELOW)
        if self._apart is None:
            taken = self._shared.take(number)
            if taken.verdict is Verdict.REPEATED and self._is_anothers(word, number):
                self._part(word, number)
                taken = Taken(Verdict.NEW, taken.gaps)
        else:
            taken = self._apart.setdefault(word, Numbers()).take(number)
        self._note(word, number, taken)
        return taken

    def fill(self, word: str | None, number: int) -> Taken:
        """Note a change that was refused."""
        if self._apart is None:
            taken = self._shared.fill(number)
        else:
            taken = self._apart[word].fill(number) if word in self._apart else Taken(Verdict.REPEATED)
        if taken.verdict is Verdict.NEW:
            self._note(word or "", number, taken)
            self._passed.append(Gap(number, number))
        return taken

    def give_up(self) -> Gap | None:
        """Give up the numbers missing right after the position, if they are few. Returns them."""
        of = min(self._all(), key=lambda numbers: numbers.value or 0)
        gap = of.give_up()
        self._passed.extend([gap] if gap else [])
        return gap

    def points(self) -> list[int]:
        """Returns numbers to resume after, as `Numbers.points`; the position is the first."""
        found = sorted({point for numbers in self._all() for point in numbers.points()})
        return found if self.position is not None else []

    def holes(self) -> list[Gap]:
        """Returns the missing numbers, the lowest first."""
        return sorted({hole for numbers in self._all() for hole in numbers.holes()})

    def skip(self, word: str, last: int | None) -> tuple[int, list[Gap]]:
        """Skip one change, as `Numbers.skip`."""
        of = min(self._all(), key=lambda numbers: numbers.value or 0)
        skipped, gaps = (of if self._apart is None else self._apart.get(word, of)).skip(last)
        self._passed.extend([*gaps, Gap(skipped, skipped)])
        return skipped, gaps

    def _all(self) -> Collection[Numbers]:
        return [self._shared] if self._apart is None else self._apart.values()

    def _note(self, word: str, number: int, taken: Taken) -> None:
        self._passed.extend(taken.gaps)
        self._highest[word] = max(number, self._highest.get(word, 0))

    def _is_anothers(self, word: str, number: int) -> bool:
        """Returns whether a number was taken by another type, while this type has not come so far yet."""
        return number > self._highest.get(word, 0) and not any(g.first <= number <= g.last for g in self._passed)

    def _part(self, word: str, number: int) -> None:
        """Follow each type alone from now on, from its present position."""
        known = {w: Numbers(min(n, self._shared.run_value(n))) for w, n in self._highest.items() if w}
        self._apart = known
        known.setdefault(word, Numbers()).take(number)
