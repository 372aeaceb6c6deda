"""A feed file read to its end: its numbers, and the differences, kept in a temporary file until they are applied."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, Self

from adapters.feeds.comparison import Difference, Known, Said
from adapters.feeds.errors import NoRoot
from adapters.feeds.guard import Counts
from adapters.feeds.parse.content import Content
from adapters.feeds.parse.items import Item, items
from adapters.feeds.parse.place import Parents
from adapters.feeds.settings import FeedFile
from schemas.errors import InvalidInput
from schemas.estate import Premise
from schemas.fields import MOST_ID

Row = tuple[Any, ...]
EXAMPLES: Final = 20
_COUNTED: Final = {Said.NEW: "new", Said.CHANGED: "changed", Said.RETURNED: "returned", Said.SAME: "same"}


class Example(NamedTuple):
    """A refused offer."""

    ext_id: str
    error: InvalidInput

    def as_dict(self) -> dict[str, Any]:
        """Returns its facts as JSON."""
        error, key = self.error, self.ext_id.encode("utf-8", "backslashreplace").decode()  # half surrogates of JSON
        return {"ext_id": key[:MOST_ID], "field": error.field, "expected": error.expected, "came": error.came}


class Spool:
    """Differences in a temporary file: 200,000 of them would take 400 MB of memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(buffering=1 << 16)  # noqa: SIM115 - closed with the spool

    def add(self, difference: Difference) -> None:
        """Append a difference."""
        row, entry = difference
        pickle.dump((type(row), tuple(row), entry), self._file, protocol=5)

    def __iter__(self) -> Iterator[Difference]:
        self._file.seek(0)
        while True:
            try:
                record, values, entry = pickle.load(self._file)  # noqa: S301 - our own file, which has no name
            except EOFError:
                return
            yield Difference(record(*values), entry)

    def close(self) -> None:
        """Delete the file."""
        self._file.close()


class Plan:
    """The differences of one file; `make_plan` fills it. A context manager."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._spool = Spool()
        self._parents: list[Difference] = []
        self.record: type[Row] = Premise
        self.counts = Counts()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._spool.close()

    def differences(self, at_micros: int) -> Iterator[Difference]:
        """Returns all differences, parents first, then those of the offers, then those that are gone."""
        yield from self._parents
        yield from self._spool
        yield from self._known.gone(at_micros)

    def take(self, item: Item) -> None:
        """Note an item of the file."""
        counts = self.counts
        self.record = item.record
        counts.offers += 1
        if not item.ext_id:
            counts.missing_ids += 1
        elif item.row is None:
            self._refuse(item)
        else:
            said, difference = self._known.take(item.row)
            if said is Said.TWICE:
                counts.duplicates += 1
            else:
                name = _COUNTED[said]
                setattr(counts, name, getattr(counts, name) + 1)
            if difference is not None:
                self._spool.add(difference)

    def _refuse(self, item: Item) -> None:
        assert item.error is not None  # an item without a row has a reason
        self.counts.refused += 1
        self.counts.duplicates += self._known.saw(item.record, item.ext_id) is Said.TWICE
        if len(self.counts.examples) < EXAMPLES:
            self.counts.examples.append(Example(item.ext_id, item.error).as_dict())

    def finish(self, parents: Parents) -> None:
        """Note the parents of all offers, and what the file lacks."""
        for row in parents.rows():
            _, difference = self._known.take(row)
            if difference is not None:
                self._parents.append(difference)
        self.counts.parents = len(self._parents)
        self.counts.known = self._known.count(self.record)
        self.counts.gone = self._known.missing(self.record)


class Stopped(Exception):
    """Raised by `make_plan` where its caller wants it no more."""


def make_plan(content: Content, feed: FeedFile, known: Known, is_stopped: Callable[[], bool] = lambda: False) -> Plan:
    """Read a file to its end. Returns what it changes. Raises BrokenFeed, and Stopped once ``is_stopped`` returns True.

    It computes for half a minute where the file is large: call it in a thread.
    """
    plan, parents = Plan(known), Parents(feed.id_prefix)
    try:
        for item in items(content, feed.format, feed.id_prefix, parents):
            plan.take(item)
            if is_stopped():
                raise Stopped
    except NoRoot:
        plan.counts.no_root = True
    except BaseException:
        plan.__exit__()
        raise
    plan.finish(parents)
    return plan
