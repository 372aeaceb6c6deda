"""The position of the feed: the mark below which every change is safe, and its storage.

The feed numbers its changes (`update_id`), but brings some twice and some late. The mark is therefore not the highest
number seen, but the highest below which none is missing: after a cut the feed is resumed from there, so that nothing is
lost; the fold drops duplicates. A number that stays missing while `LATEST_CHANGES` later ones have
come is given up and reported as a gap.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError
from loguru import logger

from schemas.errors import BrokenSetup
from streams.kafka.consumer import committed_consumer, read_to_end, started
from streams.kafka.retention import configs
from streams.kafka.settings import KafkaSettings

LATEST_CHANGES: Final = 1_000
"""Later changes that may come before a missing one is given up: far above the lateness of any feed that we know of,
and at most this many changes come again after a cut."""
TOPIC: Final = "brusnika.position"


class Gap(NamedTuple):
    """Numbers that never came, both ends included."""

    first: int
    last: int


class Position(int):
    """The number to resume after, and the facts saved with it; a plain number has none of them."""

    apart: dict[str, int]
    """Position of each type, if each has a counter of its own."""
    reset: str
    """Id of the reset that the position belongs to, empty before the first one."""
    above: int
    """Number added to each one on our topics: the source's counter may start again, ours never does."""

    def __new__(
        cls, update_id: int, apart: Mapping[str, int] | None = None, *, reset: str = "", above: int = 0
    ) -> Position:
        position = super().__new__(cls, update_id)
        position.apart, position.reset, position.above = dict(apart or {}), reset, above
        return position

    @classmethod
    def of(cls, known: int) -> Position:
        """Returns any number as a Position."""
        return known if isinstance(known, cls) else cls(known)


class Watermark:
    """The highest `update_id` up to which every change was taken; ``value`` is None before the first one."""

    def __init__(self, value: int | None = None) -> None:
        self.value = value
        self._above: list[int] = []  # a heap of numbers above the mark, as others below them are missing
        self._known: set[int] = set()

    @property
    def waiting(self) -> int:
        """Returns the number of changes taken above the mark; 0 when none is missing."""
        return len(self._above)

    def above(self) -> list[int]:
        """Returns the numbers taken above the mark, the lowest first."""
        return sorted(self._above)

    def islands(self) -> list[int]:
        """Returns the numbers above the mark that are followed by a hole or by nothing."""
        return [number for number in self.above() if number + 1 not in self._known]

    def holes(self) -> list[Gap]:
        """Returns the numbers missing below those taken, the lowest first."""
        found, below = list[Gap](), self.value or 0
        for number in self.above():
            if number > below + 1:
                found.append(Gap(below + 1, number - 1))
            below = number
        return found

    def begin(self, first: int) -> None:
        """Note the first number of a feed that was never taken before; without effect on any other.

        A number this low means that the feed has just begun, and that lower ones may still come late.
        """
        if self.value is None:
            self.value = 0 if 0 < first <= LATEST_CHANGES else first - 1

    def take(self, update_id: int) -> tuple[bool, Gap | None]:
        """Note a taken change. Returns whether it is new, and a gap if one had to be given up."""
        self.begin(update_id)
        assert self.value is not None  # `begin` has set it
        if update_id <= self.value or update_id in self._known:
            return False, None
        heapq.heappush(self._above, update_id)
        self._known.add(update_id)
        self._rise()
        return True, self.give_up() if len(self._above) > LATEST_CHANGES else None

    def give_up(self) -> Gap | None:
        """Give up the lowest missing numbers. Returns them, None if none is missing."""
        if not self._above or self.value is None:
            return None
        gap = Gap(self.value + 1, self._above[0] - 1)
        self.value = gap.last
        self._rise()
        return gap

    def skip(self) -> int:
        """Skip one change after the mark. Returns the new mark."""
        self.value = 0 if self.value is None else self.value + 1
        self._rise()
        return self.value

    def _rise(self) -> None:
        while self._above and self.value is not None and self._above[0] == self.value + 1:
            self.value = heapq.heappop(self._above)
            self._known.discard(self.value)


class KafkaPositions:
    """Keeps the mark of a source in the compacted topic `brusnika.position`; keys are the source, and
    ``<source>/reset`` for a person's reset, values are JSON.

    In Kafka and not in a file, so that a feed on another machine resumes where the last one stopped.
    """

    def __init__(self, kafka: KafkaSettings, source: str, *, topic: str = TOPIC) -> None:
        self._kafka, self._topic = kafka, topic
        self._keys = source.encode(), f"{source}/reset".encode()
        self._notes = f"{source}/"
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> KafkaPositions:
        await self._create_topic()
        producer = AIOKafkaProducer(**self._kafka.client_options(), acks="all")  # the last one holds: twice is as once
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def load(self) -> Position | None:
        """Returns the position saved last, or that of a later reset; None if there is neither.

        Raises KafkaSilent and KafkaError.
        """
        found = dict[bytes, Position]()
        for key, value in await self._read():
            if key in self._keys and (read := _read(value, found.get(key))) is not None:
                found[key] = read
        saved, wanted = (found.get(key) for key in self._keys)
        return saved if wanted is None or (saved is not None and saved.reset == wanted.reset) else wanted

    async def load_notes(self) -> dict[str, dict[str, Any]]:
        """Returns the notes kept by `note`, by name. One that can't be read counts as absent."""
        found = dict[str, dict[str, Any]]()
        for key, value in await self._read():
            name = (key or b"").decode("utf-8", "replace")
            if name.startswith(self._notes) and key not in self._keys:
                with contextlib.suppress(ValueError):
                    found[name.removeprefix(self._notes)] = dict(json.loads(value or b""))
        return found

    async def note(self, name: str, said: Mapping[str, Any]) -> None:
        """Keep a JSON object under a name; returns when Kafka has acknowledged it."""
        await self._write(f"{self._notes}{name}".encode(), dict(said))

    async def _read(self) -> list[tuple[bytes | None, bytes | None]]:
        """Returns the keys and values of the topic. Raises KafkaSilent and KafkaError."""
        found: list[tuple[bytes | None, bytes | None]] = []
        async with started(committed_consumer(self._kafka)) as consumer:
            partition = TopicPartition(self._topic, 0)
            consumer.assign([partition])
            begin = (await consumer.beginning_offsets([partition]))[partition]
            await consumer.seek_to_beginning(partition)
            async for polled in read_to_end(consumer, await consumer.end_offsets([partition])):
                found += [(record.key, record.value) for record in polled]
        if begin > 0 and not any(key in self._keys for key, _ in found):
            logger.error("{}: records before {} were deleted, and with them the feed's position", self._topic, begin)
        return found

    async def save(self, update_id: int) -> None:
        """Save the mark; returns when Kafka has acknowledged it."""
        await self._put(self._keys[0], Position.of(update_id))

    async def reset(self, to: int, *, anew: bool = False) -> Position:
        """Reset the feed to begin after ``to``, a running one with its next connection. Returns the new position.

        ``anew``: the source's counter started again, so that its numbers continue above all that were taken.
        """
        before = await self.load()
        before = Position(0) if before is None else before
        above = before.above
        if anew:  # what was taken above the mark is no further from it
            above += max(before, *before.apart.values(), 0) + 2 * LATEST_CHANGES
        wanted = Position(to, reset=uuid.uuid4().hex, above=above)
        await self._put(self._keys[1], wanted)
        return wanted

    async def _put(self, key: bytes, position: Position) -> None:
        more = {"apart": position.apart, "reset": position.reset, "above": position.above}
        said = {"update_id": int(position), **{name: value for name, value in more.items() if value}}
        await self._write(key, said)

    async def _write(self, key: bytes, said: dict[str, Any]) -> None:
        if self._producer is None:
            raise BrokenSetup("the position was saved outside of `async with`")
        await self._producer.send_and_wait(self._topic, json.dumps(said).encode(), key=key, partition=0)

    async def _create_topic(self) -> None:
        admin = AIOKafkaAdminClient(**self._kafka.client_options())
        try:
            await admin.start()
            topic = NewTopic(
                self._topic,
                num_partitions=1,
                replication_factor=self._kafka.replication_factor,
                topic_configs={
                    "cleanup.policy": "compact",
                    "min.insync.replicas": str(self._kafka.min_insync_replicas),
                },
            )
            with contextlib.suppress(TopicAlreadyExistsError):
                await admin.create_topics([topic])
            found = await configs(admin, [self._topic])
        finally:
            await admin.close()
        if (policy := found.get(self._topic, {}).get("cleanup.policy", "compact")) != "compact":
            raise BrokenSetup(
                f"topic {self._topic} has cleanup.policy={policy}: it would delete the feed's position",
                hint=f"kafka-configs --alter --entity-type topics --entity-name {self._topic} "
                "--add-config cleanup.policy=compact",
            )


def _read(value: bytes | None, before: Position | None) -> Position | None:
    """A mark that can't be read counts as absent: the feed then begins earlier, and nothing is lost."""
    try:
        found = json.loads(value or b"")
        apart = {str(word): int(number) for word, number in found.get("apart", {}).items()}
        return Position(
            int(found["update_id"]), apart, reset=str(found.get("reset", "")), above=int(found.get("above", 0))
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        logger.warning("an unreadable record in the topic of feed positions is ignored")
        return before
