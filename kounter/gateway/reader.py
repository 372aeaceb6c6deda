"""The sources of the gateway: the view, the topics' histories, and Kafka's state of the workers."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from aiokafka.errors import KafkaError
from pydantic import BaseModel, Field, create_model

from kounter.connectors import alarms, context_of
from kounter.gateway.collection import OWN_PARAMETERS
from kounter.gateway.filters import documented, notes_of, parameters_of, query_of
from kounter.gateway.resources import (
    ABSENT,
    Document,
    DomainHealth,
    Health,
    ListPage,
    Resource,
    Unreadable,
)
from kounter.history.present import ELDER, entry_as_dict, plain, plural, state_as_dict
from kounter.history.reader import Reader
from kounter.process.blocked import as_dicts, beside_domains
from kounter.settings import Settings
from schemas.record import Contract
from streams.aggregate import Aggregate, Domain
from streams.kafka.batches.headers import UnreadableBatch
from streams.kafka.batches.unpacking import unreadable_here
from streams.kafka.consumer import KafkaSilent
from streams.kafka.reader import parse_moment
from streams.query.lag import GroupState, LagMeter
from streams.query.view_feeder import ViewFeeder
from tables.layout import Layout, come
from tables.timeline import Entry, timeline
from tables.view import Known, View, never
from tables.view_find import PageRequest

PROGRESS_S: Final = 15.0
"""Seconds without a commit, while records wait, after which a group counts as not progressing."""
TIMELINE_S: Final = 30.0
"""Seconds for one timeline, which reads one partition of the topic; timelines run one after the other."""
HEALTH_CACHE_S: Final = 2.0
ALARMS_CACHE_S: Final = 10.0
JSON_TYPES: Final[Mapping[str, Any]] = {"long": int, "double": float, "boolean": bool, "array": list[str]}


def resources(domains: Sequence[Domain]) -> list[Resource]:
    """Returns a collection for every aggregate."""
    return [_resource(aggregate) for domain in domains for aggregate in domain.aggregates]


def statuses(domains: Sequence[Domain]) -> dict[str, int]:
    """Returns HTTP statuses by rejection code, of all domains. Raises TypeError if two domains give one code two
    statuses, as a code means one thing to a client, or if a status is no client error."""
    found: dict[str, int] = {}
    for domain in domains:
        for code, status in domain.statuses.items():
            if not 400 <= status < 500 or found.setdefault(code, status) != status:
                raise TypeError(f"{domain.name}: {code} can't have the status {status} (known: {found.get(code)})")
    return found


def _resource(aggregate: Aggregate) -> Resource:
    domain, _, name = aggregate.topic.partition(".")
    layout, things = aggregate.layout, plural(name)
    own = home(layout, thing(name))
    return Resource(
        topic=aggregate.topic,
        path=f"/api/{domain}/{things}",
        names=(f"{domain}_{name}".replace("-", "_"), f"{domain}_{things}".replace("-", "_")),
        model=_model(layout, type_name(aggregate.topic), own),
        filters={
            name: schema
            for name, schema in parameters_of(layout, aggregate.listing).items()
            if name not in OWN_PARAMETERS
        },
        notes=notes_of(aggregate.listing),
        ranges={field: documented(layout, field) for field in aggregate.listing.cut_by()},
        search=aggregate.listing.search,
        orders=tuple(way + field for field in aggregate.listing.sorted_by() for way in ("", "-")),
        summary=" ".join((own.record.__doc__ or thing(name)).split()),
    )


def thing(name: str) -> str:
    """Returns the name of a thing's type: ``CoreUser`` for ``core-user``."""
    return "".join(part.capitalize() for part in name.split("-"))


def type_name(topic: str) -> str:
    """Returns the name of an answer's type: ``Lead``; ``EstateUser`` where another domain has the plain name since
    before."""
    name = topic.partition(".")[2]
    is_taken = any(elder != topic and elder.partition(".")[2] == name for elder in ELDER)
    return thing(topic.replace(".", "-") if is_taken else name)


def home(layout: Layout, name: str) -> Contract:
    """Returns the record that describes the thing best: its namesake, else the first that belongs to it alone."""
    own = [c for c in layout.contracts if c.topics == (layout.aggregate,)] or layout.contracts
    return next((c for c in layout.contracts if c.name == name), own[0])


def _model(layout: Layout, name: str, own: Contract) -> type[BaseModel]:
    """Returns the type of an answer: every field of the state, times as ISO 8601, money as exact text. A field without
    a value is left out. Symbols of enums are documented and not checked: a newer worker may have more."""
    fields: dict[str, Any] = {}
    for field, kind in layout.kinds.items():
        said = documented(layout, field)
        known: Any = JSON_TYPES.get(kind, str)
        if field in layout.personal:
            known, said = known | str, said if known is str else {}  # masked
        extra = {key: value for key, value in said.items() if known is str and key in ("enum", "format", "pattern")}
        known = Annotated[known, Field(json_schema_extra=extra)] if extra else known
        is_sure = field in ("ext_id", "version", "changed_at")
        fields[field] = (known, ...) if is_sure else (known | ABSENT, None)
    return create_model(name, __doc__=own.record.__doc__, **fields)


class ViewReader:
    """The gateway's `Reader`."""

    def __init__(
        self, view: View, feeder: ViewFeeder, topics: Reader, domains: Sequence[Domain], settings: Settings
    ) -> None:
        """``settings`` name topics of sources, whose positions health reports."""
        self._settings = settings
        self.view, self._feeder, self._topics, self._domains = view, feeder, topics, domains
        self._aggregates = {a.topic: a for domain in domains for a in domain.aggregates}
        self._moved: dict[str, tuple[int, float]] = {}
        """Committed offsets of each group and when they last moved."""
        self._health: tuple[float, Health] | None = None
        self._alarms: tuple[float, list[str]] = (-math.inf, [])
        self._asking = asyncio.Lock()

    async def get(self, topic: str, ext_id: str, *, personal: bool, as_of: str | None = None) -> Document | None:
        if as_of is not None:
            aggregate = self._aggregates[topic]
            entries = await self._entries(aggregate, ext_id, as_of)
            after = come(entries[-1].after) if entries else None
            return None if after is None else state_as_dict(aggregate.layout, after, personal=personal)
        found = await asyncio.to_thread(self.view.get, topic, ext_id)
        return None if found is None else self._plain(topic, found, personal)

    async def find(
        self, topic: str, filters: Mapping[str, str], page: PageRequest, *, personal: bool, known: Known = never
    ) -> ListPage:
        aggregate = self._aggregates[topic]
        query = query_of(aggregate.layout, aggregate.listing, filters, page)
        found = await asyncio.to_thread(self.view.find, topic, query, known)
        return ListPage([self._plain(topic, row, personal) for row in found.rows], *found[1:])

    async def timeline(self, topic: str, ext_id: str, *, personal: bool, as_of: str | None = None) -> list[Document]:
        aggregate = self._aggregates[topic]
        entries = await self._entries(aggregate, ext_id, as_of)
        return [entry_as_dict(aggregate.layout, entry, personal=personal) for entry in entries]

    async def _entries(self, aggregate: Aggregate, ext_id: str, as_of: str | None) -> list[Entry]:
        """Returns the history of a thing, up to a time."""
        until = math.inf if as_of is None else parse_moment("as_of", as_of, datetime.now(UTC))
        try:
            async with asyncio.timeout(TIMELINE_S):
                history = await self._topics.history(aggregate, ext_id)
        except (KafkaError, TimeoutError) as error:
            hint = f"Ask again; or `kounter timeline {aggregate.topic}`, which may take its time."
            raise KafkaSilent(f"the topic was not read within {TIMELINE_S:.0f} s", hint=hint) from error
        return timeline(aggregate.evolve, [said for said in history if said.at <= until])

    async def health(self) -> Health:
        async with self._asking:
            if self._health is None or time.monotonic() - self._health[0] > HEALTH_CACHE_S:
                self._health = (time.monotonic(), await self._ask())
            return self._health[1]

    async def _look_for_alarms(self) -> None:
        """Read the alarms of all systems, which change by the minute. Raises KafkaError."""
        if time.monotonic() - self._alarms[0] > ALARMS_CACHE_S:
            self._alarms = (
                time.monotonic(),
                await alarms(replace(context_of(self._settings), kafka=self._topics.kafka)),
            )

    async def _ask(self) -> Health:
        try:
            async with asyncio.timeout(5), LagMeter(self._topics.kafka) as meter:
                groups = {d.name: await meter.of_domain(d) for d in self._domains}
                standing = await beside_domains(meter, self._settings)
                await self._look_for_alarms()
        except (KafkaError, KafkaSilent, TimeoutError):
            return Health(ready=False, view_behind=self._feeder.behind, unreadable=_places(unreadable_here()))
        domains = {name: self._domain_health(group) for name, group in groups.items()}
        standing += [batch for group in groups.values() for batch in group.unreadable]
        standing += self._feeder.unreadable
        # A domain that never ran here, and for which nothing waits, is not part of this deployment.
        run = [d for name, d in domains.items() if d.workers or d.lag_records or self._moved[name][0] > 0]
        going = all(d.assigned and d.recovered and d.progressing for d in run) and not standing
        return Health(
            ready=bool(run) and self._feeder.caught_up and going,
            view_behind=self._feeder.behind,
            unreadable=_places(standing),
            domains=domains,
            alarms=self._alarms[1],
        )

    def _domain_health(self, group: GroupState) -> DomainHealth:
        committed = sum(topic.committed for topic in group.topics)
        before, since = self._moved.get(group.group, (-1, 0.0))
        if committed != before:
            since = time.monotonic()
            self._moved[group.group] = (committed, since)
        return DomainHealth(
            workers=len(group.members),
            assigned=group.assigned,
            recovered=group.state == "Stable",
            progressing=group.seconds < PROGRESS_S or time.monotonic() - since < PROGRESS_S,
            lag_records=group.records,
            lag_seconds=group.seconds,
        )

    def _plain(self, topic: str, row: Mapping[str, Any], personal: bool) -> Document:
        layout = self._aggregates[topic].layout
        return plain(row.items(), layout.kinds, frozenset() if personal else layout.personal)


def _places(batches: Sequence[UnreadableBatch]) -> list[Unreadable]:
    return [Unreadable(**place) for place in as_dicts({batch.id: batch for batch in batches}.values())]
