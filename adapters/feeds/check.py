"""The check of a feed file, which writes nothing, and the acceptance of a refused one."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from adapters.feeds import digests
from adapters.feeds.comparison import Known
from adapters.feeds.download import Limits, Validators, fetched
from adapters.feeds.guard import Counts, Doubt, doubts
from adapters.feeds.plan import make_plan
from adapters.feeds.settings import FeedFile
from adapters.feeds.state import Acceptance, FeedStates
from schemas.errors import InvalidInput
from streams.kafka.settings import KafkaSettings


class Checked(NamedTuple):
    """The result of a check."""

    counts: Counts
    doubts: list[Doubt]
    """The reasons for which the guard would refuse the file."""


async def check(feed: FeedFile, kafka: KafkaSettings | None, limits: Limits = Limits()) -> Checked:  # noqa: B008
    """Read a file and compare it with what the feed of this name said before; without ``kafka`` all of it is new.

    Raises FeedUnavailable, BrokenFeed, BrokenSetup, KafkaError.
    """
    known = Known() if kafka is None else await digests.load(kafka, feed.name)
    async with fetched(feed.url.get_secret_value(), Validators(), limits) as file:
        assert file is not None  # the request has no condition
        with await asyncio.to_thread(make_plan, file.content, feed, known) as plan:
            return Checked(plan.counts, doubts(plan.counts, feed.shrink_limit))


async def accept(kafka: KafkaSettings, name: str, at_micros: int) -> list[str]:
    """Accept the refused file of a feed: the next one that lacks no more is applied. Returns the reasons.

    Raises InvalidInput if none of the feed is refused.
    """
    async with FeedStates(kafka) as states:
        known, _ = await states.load()
        refused = known[name].refused if name in known else []
        if not refused:
            raise InvalidInput("name", "a feed whose file is refused", name, hint="See `kounter feed status`.")
        gone = int(known[name].counts.get("gone", 0))
        await states.accept(name, Acceptance(at_micros, [reason for reason, _ in refused], gone))
        return [said for _, said in refused]
