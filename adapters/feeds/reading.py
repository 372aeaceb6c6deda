"""One reading of one feed: fetch, compare, guard, write. The new state says how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from hashlib import sha256
from typing import Final, NamedTuple

from loguru import logger

from adapters.feeds import digests
from adapters.feeds.download import Fetched, Limits, Validators, fetched, shown
from adapters.feeds.errors import BrokenFeed, FeedUnavailable
from adapters.feeds.guard import Counts, Doubt, doubts, remaining
from adapters.feeds.plan import Plan, make_plan
from adapters.feeds.settings import FeedFile
from adapters.feeds.state import Acceptance, FeedState
from adapters.feeds.writer import write
from schemas.codec.serde import Serde
from schemas.errors import BrokenSetup
from streams.kafka.settings import KafkaSettings

RULES: Final = 1
"""Version of the mapping: with a new one an unchanged file is read again."""


class Tools(NamedTuple):
    """The parts that all readings share."""

    kafka: KafkaSettings
    serde: Serde
    one: asyncio.Lock
    """Held while a file is compared and written: the digests of two large feeds do not fit in memory together."""
    is_stopped: Callable[[], bool]
    limits: Limits = Limits()


class Reading:
    """One reading of a feed. ``keep`` writes the state that must be kept before the first record is."""

    def __init__(
        self,
        feed: FeedFile,
        state: FeedState,
        acceptance: Acceptance | None,
        keep: Callable[[FeedState], Awaitable[None]],
        tools: Tools,
        at_micros: int,
    ) -> None:
        self._feed, self._keep, self._tools, self._at = feed, keep, tools, at_micros
        self._acceptance = acceptance if acceptance and acceptance.at > state.accepted_at else None
        self._version = _version(feed)
        self._is_known = state.version == self._version and not state.pending and self._acceptance is None
        self._state = replace(state, checked_at=at_micros)

    async def read(self) -> FeedState:
        """Read the feed. Returns its new state, errors of the file or its server included. Raises KafkaError."""
        address, state = self._feed.url.get_secret_value(), self._state
        validators = state.validators if self._is_known else Validators()
        try:
            async with fetched(address, validators, self._tools.limits) as file:
                if file is None or (self._is_known and file.digest == state.digest):
                    return self._unchanged(validators if file is None else file.validators)
                return await self._compare(file)
        except (FeedUnavailable, BrokenFeed, BrokenSetup) as error:
            if error.message != state.error:
                logger.error("feed {}: {}: {}", self._feed.name, shown(address), error.message)
            return replace(self._state, error=error.message, etag="", modified="")

    def _unchanged(self, validators: Validators) -> FeedState:
        state, (etag, modified) = self._state, validators
        logger.debug("feed {} has not changed", self._feed.name)
        good_at = state.good_at if state.refused else self._at
        return replace(state, error="", good_at=good_at, etag=etag, modified=modified)

    async def _compare(self, file: Fetched) -> FeedState:
        tools = self._tools
        async with tools.one:
            known = await digests.load(tools.kafka, self._feed.name)
            with await asyncio.to_thread(make_plan, file.content, self._feed, known, tools.is_stopped) as plan:
                counts, accepted = plan.counts, self._acceptance
                self._state = replace(self._state, version=self._version, counts=asdict(counts), error="")
                found = doubts(counts, self._feed.shrink_limit)
                if left := remaining(found, counts, accepted.as_accepted() if accepted else None):
                    return self._refused(left, file)
                return await self._apply(plan, file)

    def _refused(self, found: list[Doubt], file: Fetched) -> FeedState:
        reasons = [[doubt.reason.value, doubt.said] for doubt in found]
        if reasons != self._state.refused:
            name, said = self._feed.name, "; ".join(doubt.said for doubt in found)
            logger.error(
                "feed {} is refused, what is known stays: {}. `kounter feed accept {}` takes it", name, said, name
            )
        etag, modified = file.validators
        return replace(self._state, refused=reasons, digest="", etag=etag, modified=modified)

    async def _apply(self, plan: Plan, file: Fetched) -> FeedState:
        state, tools, name = self._state, self._tools, self._feed.name
        if state.pending != file.digest:  # else a crash came after this: the same file is written with the same time
            state = replace(state, pending=file.digest, pending_at=self._at, etag="", modified="")
            await self._keep(state)
        at = state.pending_at
        written = await write(tools.kafka, tools.serde, name, plan.differences(at), at)
        _log(name, plan.counts, written)
        etag, modified = file.validators
        accepted_at = self._acceptance.at if self._acceptance else state.accepted_at
        return replace(
            state,
            good_at=self._at,
            refused=[],
            digest=file.digest,
            etag=etag,
            modified=modified,
            pending="",
            accepted_at=accepted_at,
        )


def _version(feed: FeedFile) -> str:
    """Returns a digest of all by which a file is read and judged."""
    said = f"{RULES} {feed.format} {feed.id_prefix} {feed.shrink_limit} {feed.url.get_secret_value()}"
    return sha256(said.encode()).hexdigest()[:16]


def _log(name: str, counts: Counts, written: int) -> None:
    said = f"{counts.offers} offers, {counts.new} new, {counts.changed} changed, {counts.returned} returned"
    logger.info("feed {}: {}, {} gone, {} records", name, said, counts.gone, written)
    if counts.refused:
        first = counts.examples[0]
        said = f"{first['ext_id']}: {first['field']}: expected {first['expected']}"
        logger.warning("feed {}: {} offers are refused, what is known of them stays: {}", name, counts.refused, said)
