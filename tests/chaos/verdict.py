"""Compares what stands on the topics and in the local stores with the reference."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.structs import ConsumerRecord
from rocksdict import AccessType, Options, Rdict

from schemas.codec.serde import Serde
from streams.aggregate import Domain
from streams.kafka import dead_letters
from tables.store import AS_OF_KEY, OFFSET_KEY
from tests.chaos.reference import Expected, Place, expect, is_written_by, written_ids
from tests.support.cluster import Cluster


@dataclass
class Verdict:
    """What is wrong, as texts; and how much was looked at."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    misordered: list[str] = field(default_factory=list)
    records: int = 0
    outputs: int = 0
    states: int = 0
    stores: int = 0

    def bad(self) -> int:
        return len(self.lost) + len(self.doubled) + len(self.misordered)


async def judge(domains: list[Domain], cluster: Cluster, serde: Serde, folder: Path) -> Verdict:
    """All domains, and every local store in ``folder``."""
    verdict = Verdict()
    letters: dict[Place, list[str]] = {}
    causes: dict[str, str] = {}
    for domain in domains:
        sources = {topic: await cluster.read(topic) for topic in domain.sources}
        decided = {a.topic for a in domain.aggregates if a.decide is not None}
        produced = {t: [r for r in records if not is_written_by(domain, r)] for t, records in sources.items()}
        verdict.records += sum(len(records) for topic, records in produced.items() if topic not in decided)
        expected = await expect(domain, serde, sources)
        causes |= expected.causes
        letters |= {place: ids for place, ids in expected.written.items() if place[0] == dead_letters.TOPIC}
        for topic in domain.writes:
            # Other sources hold what we produced, beside what aggregates tell each other.
            mixed = topic in sources and topic not in decided
            found = [r for r in await cluster.read(topic) if not mixed or is_written_by(domain, r)]
            wanted = {place: ids for place, ids in expected.written.items() if place[0] == topic}
            _compare(verdict, wanted, written_ids(topic, found, expected.causes))
        changelog = await cluster.read(domain.changelog)
        _tables(verdict, domain, expected, changelog)
        await asyncio.to_thread(_stores, verdict, folder / "data" / "workers", domain, changelog)
    _compare(verdict, letters, written_ids(dead_letters.TOPIC, await cluster.read(dead_letters.TOPIC), causes))
    return verdict


def _compare(verdict: Verdict, wanted: dict[Place, list[str]], found: dict[Place, list[str]]) -> None:
    """Each id once, in the order of its key and cause."""
    for place in wanted.keys() | found.keys():
        expected, ids = wanted.get(place, []), found.get(place, [])
        verdict.outputs += len(ids)
        verdict.lost += [f"{place}: {id} is missing" for id in set(expected) - set(ids)]
        verdict.doubled += [f"{place}: {id} was not asked for" for id in set(ids) - set(expected)]
        if len(ids) != len(set(ids)):
            verdict.doubled.append(f"{place}: {len(ids) - len(set(ids))} ids come twice")
        if ids != expected and sorted(ids) == sorted(expected):
            verdict.misordered.append(f"{place}: another order")


def _tables(verdict: Verdict, domain: Domain, expected: Expected, changelog: list[ConsumerRecord]) -> None:
    latest = {record.key: record.value for record in changelog}
    found = {key: value for key, value in latest.items() if value is not None}
    layouts = {a.topic.encode(): a.layout for a in domain.aggregates}
    verdict.states += len(found)
    for key, state in expected.states.items():
        value = found.get(key)
        if value is None:
            verdict.lost.append(f"{key!r}: no state")
        elif layouts[key.split(b"\0")[0]].load(value) != state:
            verdict.lost.append(f"{key!r}: not {state}")
    verdict.doubled += [f"{key!r}: a state of nothing" for key in found.keys() - expected.states.keys()]


def _stores(verdict: Verdict, workers: Path, domain: Domain, changelog: list[ConsumerRecord]) -> None:
    for path in workers.glob(f"*/{domain.name}/p*"):
        _store(verdict, path, changelog)


def _store(verdict: Verdict, path: Path, changelog: list[ConsumerRecord]) -> None:
    """A local copy must equal the changelog up to its own offset."""
    db = Rdict(str(path), Options(raw_mode=True), access_type=AccessType.read_only())
    items: Any = db.items()
    local = dict(items)
    db.close()
    offset = int(local.pop(OFFSET_KEY, b"-1"))
    local.pop(AS_OF_KEY, None)
    wanted: dict[bytes, bytes] = {}
    for record in changelog:
        if record.partition == int(path.name[1:]) and record.offset <= offset:
            if record.value is None:
                wanted.pop(record.key, None)
            else:
                wanted[record.key] = record.value
    verdict.stores += 1
    if local != wanted:
        differing = {key for key in local.keys() | wanted.keys() if local.get(key) != wanted.get(key)}
        verdict.lost.append(f"local store {path}: {len(differing)} states differ at offset {offset}")
