"""The topics that domains and deliveries need."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from streams.aggregate import Domain
from streams.kafka import dead_letters, identities
from streams.kafka.topics import COMPACTED, DEAD_LETTERS, KEPT, REMEMBERED, REPLIES, Topic, changelog_of, group_of

RESPONSES: Final = ("bitrix.responses", "rosdomofon.responses")

CHANNELS: Final = {
    "bitrix24": "bitrix.commands",
    "rosdomofon": "rosdomofon.commands",
    "rosdomofon-rest": "rosdomofon.requests",
}
"""The deliveries' names, and the topics of their commands."""


def topics_of(domains: Iterable[Domain]) -> list[Topic]:
    """Returns every topic that these domains read or write."""
    wanted: dict[str, dict[str, str]] = {}
    for domain in domains:
        for name in (*domain.sources, *domain.writes):
            wanted[name] = KEPT
        wanted |= dict.fromkeys(domain.replies, REPLIES)
        wanted[domain.changelog] = COMPACTED
    wanted |= {**dict.fromkeys(RESPONSES, KEPT), dead_letters.TOPIC: DEAD_LETTERS}
    wanted[identities.TOPIC] = COMPACTED
    wanted |= {changelog_of(group_of(channel)): REMEMBERED for channel in CHANNELS}
    return [Topic(name, config) for name, config in wanted.items()]
