"""The source of feed files: each is read on its own schedule, and none of them stops another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiokafka.errors import KafkaError
from loguru import logger

from adapters.feeds.download import Limits
from adapters.feeds.plan import Stopped
from adapters.feeds.reading import Reading, Tools
from adapters.feeds.settings import FeedFile, FeedsSettings
from adapters.feeds.state import TOPICS, FeedState, FeedStates
from schemas.codec.serde import Serde
from schemas.errors import KounterError
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import ensure_topics

RETRY_S: Final = 10.0
"""Seconds until a feed is read again after an error of Kafka or the registry."""


class FeedFiles:
    """Reads the feed files of ``settings`` until `stop`; a `streams.ports.Source`. The estate topics must be there, and
    prepared in ``serde``."""

    def __init__(
        self,
        settings: FeedsSettings,
        kafka: KafkaSettings,
        serde: Serde,
        *,
        limits: Limits = Limits(),  # noqa: B008 - a tuple
        now: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._settings, self._kafka, self._now = settings, kafka, now
        self._stopping = asyncio.Event()
        self._tools = Tools(kafka, serde, asyncio.Lock(), self._stopping.is_set, limits)
        self.ready = asyncio.Event()
        """Set once the topics are there: a feed may take a quarter of an hour until it is given up."""

    async def run(self) -> None:
        """Read all feeds on their schedules until `stop`. Raises BrokenSetup for topics that can't be used."""
        await ensure_topics(self._kafka, list(TOPICS))
        async with FeedStates(self._kafka) as states:
            tasks = [asyncio.create_task(self._keep_reading(feed, states)) for feed in self._settings.sources]
            self.ready.set()
            try:
                await self._stopping.wait()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """Let `run` return; a file that is being written is written again after the next start."""
        self._stopping.set()

    async def read_once(self, feed: FeedFile, states: FeedStates) -> FeedState:
        """Read a feed now, and keep its new state. Returns it. Raises KafkaError, KounterError of the registry."""
        known, acceptances = await states.load()

        async def keep(state: FeedState) -> None:
            await states.save(feed.name, state)

        before, acceptance = known.get(feed.name, FeedState()), acceptances.get(feed.name)
        state = await Reading(feed, before, acceptance, keep, self._tools, self._now()).read()
        await states.save(feed.name, state)
        return state

    async def _keep_reading(self, feed: FeedFile, states: FeedStates) -> None:
        while not self._stopping.is_set():
            due = time.monotonic() + feed.every_s
            try:
                await self.read_once(feed, states)
            except Stopped:
                return
            except (KafkaError, KounterError, OSError) as error:
                logger.error("feed {} can't be taken, it is read again: {}", feed.name, error)
                due = time.monotonic() + min(feed.every_s, RETRY_S)
            except Exception as error:  # a bug met by one feed must not stop the others
                logger.opt(exception=error).error("feed {} is given up until its next time", feed.name)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), max(0.0, due - time.monotonic()))
