"""The state of each feed, in the compacted topic `feeds.state`, so that any process shows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from types import TracebackType
from typing import Any, Final, Self

import orjson
from loguru import logger

from adapters.feeds.compacted import entries
from adapters.feeds.download import Validators
from adapters.feeds.guard import Accepted
from streams.kafka.idempotent import IdempotentProducer
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import COMPACTED, Topic

TOPIC: Final = "feeds.state"
DIGESTS: Final = "feeds.digests"
TOPICS: Final = (Topic(TOPIC, COMPACTED), Topic(DIGESTS, COMPACTED))
RETIRED_MICROS: Final = 8 * 86_400 * 1_000_000
"""Time after which a feed that was not requested is one that the settings no longer have: most wait a week."""
_PARTITION: Final = 0
_ACCEPT: Final = "/accept"


@dataclass
class FeedState:
    """The facts about a feed; times in microseconds since the epoch, None for never."""

    checked_at: int | None = None
    """Time of the last request."""
    good_at: int | None = None
    """Time of the last request whose file was applied, or had not changed since."""
    error: str = ""
    """The reason why the file can't be had or read, empty after a good one."""
    refused: list[list[str]] = field(default_factory=list)
    """The guard's reasons, as code and text, empty after a good file."""
    counts: dict[str, Any] = field(default_factory=dict)
    """The numbers of the last file that was read to its end."""
    etag: str = ""
    modified: str = ""
    digest: str = ""
    """SHA-256 of the last file that was applied."""
    pending: str = ""
    """SHA-256 of the file that is being applied; after a crash the same one is applied with the same time."""
    pending_at: int = 0
    version: str = ""
    """A digest of the settings and rules by which the last file was read: with others it is read again."""
    accepted_at: int = 0
    """Time of the acceptance that was used last."""

    @property
    def alarm(self) -> str:
        """Returns why the feed is not taken, empty if it is."""
        if self.error:
            return self.error
        return "refused: " + "; ".join(said for _, said in self.refused) if self.refused else ""

    @property
    def validators(self) -> Validators:
        """Returns the headers for a conditional request."""
        return Validators(self.etag, self.modified)


async def alarms(kafka: KafkaSettings, now_micros: int) -> list[str]:
    """Returns a text for each feed that is not taken, but for those that are no longer read. Raises KafkaError."""
    async with FeedStates(kafka) as states:
        known, _ = await states.load()
    since = now_micros - RETIRED_MICROS
    return [f"feed {n}: {state.alarm}" for n, state in known.items() if state.alarm and (state.checked_at or 0) > since]


@dataclass
class Acceptance:
    """The acceptance of a refused file by a person."""

    at: int
    reasons: list[str]
    gone: int

    def as_accepted(self) -> Accepted:
        """Returns it as the guard needs it."""
        return Accepted(frozenset(self.reasons), self.gone)


class FeedStates:
    """Reads and writes the states. An asynchronous context manager; the topic must be there."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer = IdempotentProducer(**kafka.client_options())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.stop()

    async def load(self) -> tuple[dict[str, FeedState], dict[str, Acceptance]]:
        """Returns all states and the newest acceptances, by name of the feed."""
        found: dict[str, bytes | None] = {}
        async for key, value in entries(self._kafka, TOPIC, _PARTITION):
            found[key.decode("utf-8", "replace")] = value
        states = {name: _read(FeedState, value) for name, value in found.items() if not name.endswith(_ACCEPT)}
        accepts = {
            name.removesuffix(_ACCEPT): _read(Acceptance, value)
            for name, value in found.items()
            if name.endswith(_ACCEPT)
        }
        return _known(states), _known(accepts)

    async def save(self, name: str, state: FeedState) -> None:
        """Write a state; returns when Kafka has acknowledged it."""
        await self._put(name, asdict(state))

    async def accept(self, name: str, acceptance: Acceptance) -> None:
        """Write an acceptance; returns when Kafka has acknowledged it."""
        await self._put(f"{name}{_ACCEPT}", asdict(acceptance))

    async def _put(self, key: str, value: dict[str, Any]) -> None:
        sent = await self._producer.send(TOPIC, orjson.dumps(value), key.encode(), partition=_PARTITION)
        await sent


def _known(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value is not None}


def _read(kind: Any, value: bytes | None) -> Any:
    """Returns a record of the topic; None if it can't be read. Names that a newer version has are passed over."""
    try:
        found = orjson.loads(value or b"")
        names: Iterable[str] = {known.name for known in fields(kind)}
        return kind(**{name: found[name] for name in names if name in found})
    except (ValueError, TypeError):
        if value is not None:
            logger.warning("an unreadable record in {} is passed over", TOPIC)
        return None
