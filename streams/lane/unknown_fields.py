"""Counts records whose writers have fields that Kounter lacks, by source. Each writer schema is logged once.

Only batches of a topic with such a writer are searched; all others cost nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from loguru import logger

from schemas.codec.serde import PASSED_OVER
from schemas.errors import shorten
from streams.lane.source_topic import SourceTopic

SOURCE: Final = "ce_source"
UNKNOWN: Final = "unknown"
MOST_SOURCES: Final = 1_000
"""Most sources: the sender chooses their names, and beyond so many all are counted as `OTHERS`."""
OTHERS: Final = "others"
SHOWN: Final = 20


class Writer(NamedTuple):
    """Source and type of such records."""

    topic: str
    schema: int
    source: str
    """The value of ``ce_source``."""

    def __str__(self) -> str:
        return f"{self.topic} schema {self.schema} from {self.source}"


class UnknownFieldCounter:
    """Counts for one worker and domain."""

    def __init__(self) -> None:
        self.records: Counter[Writer] = Counter()
        self._told: set[tuple[str, bytes]] = set()
        self._shown = 0

    def count(self, source: SourceTopic, records: Sequence[Any]) -> int:
        """Returns how many records of a batch have such a writer."""
        found = 0
        for record in records:
            header = (record.value or b"")[:5]
            if (extra := source.extra.get(header)) is not None:
                if (source.topic, header) not in self._told:
                    self._tell(source, header, extra)
                self.records[self._writer(source.topic, header, record)] += 1
                found += 1
        return found

    def news(self) -> str:
        """Returns the counts by source, the largest first; empty if none has changed since the last call."""
        total = self.records.total()
        if total == self._shown:
            return ""
        self._shown = total
        return ", ".join(f"{writer}: {count}" for writer, count in self.records.most_common(SHOWN))

    def _writer(self, topic: str, header: bytes, record: Any) -> Writer:
        said = next((value for name, value in record.headers if name == SOURCE), None)
        source = shorten(said.decode("utf-8", "replace")).strip("'") if said else UNKNOWN
        writer = Writer(topic, int.from_bytes(header[1:]), source)
        return writer if writer in self.records or len(self.records) < MOST_SOURCES else writer._replace(source=OTHERS)

    def _tell(self, source: SourceTopic, header: bytes, extra: Sequence[str]) -> None:
        self._told.add((source.topic, header))
        logger.warning(PASSED_OVER, source.topic, int.from_bytes(header[1:]), ", ".join(extra))
