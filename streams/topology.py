"""The topics that domains and deliveries need."""

from __future__ import annotations

from collections.abc import Iterable

from streams.aggregate import Domain
from streams.kafka import dead_letters, identities
from streams.kafka.topics import COMPACTED, DEAD_LETTERS, KEPT, REMEMBERED, REPLIES, Topic, changelog_of, group_of


def topics_of(domains: Iterable[Domain], sinks: Iterable[str] = (), responses: Iterable[str] = ()) -> list[Topic]:
    """Returns every topic that these domains read or write, and those of deliveries: the changelog of each sink by
    name, and the topics of all receipts."""
    wanted: dict[str, dict[str, str]] = {}
    for domain in domains:
        for name in (*domain.sources, *domain.writes):
            wanted[name] = KEPT
        wanted |= dict.fromkeys(domain.replies, REPLIES)
        wanted[domain.changelog] = COMPACTED
    wanted |= {**dict.fromkeys(responses, KEPT), dead_letters.TOPIC: DEAD_LETTERS}
    wanted[identities.TOPIC] = COMPACTED
    wanted |= {changelog_of(group_of(sink)): REMEMBERED for sink in sinks}
    return [Topic(name, config) for name, config in wanted.items()]
