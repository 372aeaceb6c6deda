"""What the gateway reads: the view, the topics' histories, and Kafka's own word on the workers."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any, Final

from aiokafka.errors import KafkaError
from pydantic import BaseModel, create_model

from adapters.gateway.resources import Document, DomainHealth, Health, Resource, Unreadable
from kounter.present import entry_as_dict, plain
from kounter.reader import Reader
from kounter.standing import as_dicts, beside_domains
from schemas.batches import UnreadableBatch
from schemas.errors import InvalidInput
from schemas.fields import to_micros
from schemas.unpacking import unreadable_here
from streams.domain import Aggregate, Domain
from streams.feeder import Feeder
from streams.lag import GroupState, LagMeter
from streams.reading import KafkaSilent
from tables.layout import Layout
from tables.timeline import timeline
from tables.view import View

PROGRESS_S: Final = 15.0
"""A group that has not moved for so long while records wait does not progress."""
TIMELINE_S: Final = 30.0
"""A timeline reads one partition of the topic; they wait for each other."""
HEALTH_CACHE_S: Final = 2.0
JSON_TYPES: Final[Mapping[str, Any]] = {"long": int, "double": float, "boolean": bool, "array": list[str]}
EXPECTED: Final[Mapping[str, str]] = {
    "long": "a whole number of at most 64 bits",
    "double": "a number",
    "boolean": "true or false",
    "timestamp-micros": "a time: ISO 8601",
    "decimal": "an amount",
}


def resources(domains: Sequence[Domain]) -> list[Resource]:
    """A collection for every aggregate."""
    return [_resource(aggregate) for domain in domains for aggregate in domain.aggregates]


def _resource(aggregate: Aggregate) -> Resource:
    domain, _, name = aggregate.topic.partition(".")
    plural = name[:-1] + "ies" if name.endswith("y") else name + "s"
    of = aggregate.layout.contracts[0]
    summary = " ".join((of.record.__doc__ or name).split())
    filters = tuple(name for name, kind in aggregate.layout.kinds.items() if kind != "array")
    return Resource(aggregate.topic, f"/api/{domain}/{plural}", _model(aggregate.layout), filters, summary)


def _model(layout: Layout) -> type[BaseModel]:
    """Of an answer: every field of the state, times as ISO 8601, money as exact text."""
    fields: dict[str, Any] = {}
    for name, kind in layout.kinds.items():
        known: Any = JSON_TYPES.get(kind, str)
        if name in layout.personal:
            known = known | str  # masked
        fields[name] = (known, ...) if name in ("ext_id", "version", "changed_at") else (known | None, None)
    record = layout.contracts[0].record
    return create_model(record.__name__, __doc__=record.__doc__, **fields)


class ViewReader:
    """The gateway's `Reader`."""

    def __init__(self, view: View, feeder: Feeder, topics: Reader, domains: Sequence[Domain], queue: str = "") -> None:
        """``queue``: the Nest bridge's topic, to say where it stands."""
        self._queue = queue
        self.view, self._feeder, self._topics, self._domains = view, feeder, topics, domains
        self._aggregates = {a.topic: a for domain in domains for a in domain.aggregates}
        self._moved: dict[str, tuple[int, float]] = {}
        """Committed offsets of each group and when they last moved."""
        self._health: tuple[float, Health] | None = None
        self._asking = asyncio.Lock()

    async def get(self, topic: str, ext_id: str, *, personal: bool) -> Document | None:
        found = await asyncio.to_thread(self.view.get, topic, ext_id)
        return None if found is None else self._plain(topic, found, personal)

    async def find(
        self,
        topic: str,
        filters: Mapping[str, str],
        *,
        limit: int,
        after: Sequence[Any] | None,
        order: str,
        personal: bool,
    ) -> tuple[list[Document], Sequence[Any] | None]:
        kinds = self._aggregates[topic].layout.kinds
        values = {name: _value(name, kinds[name], text) for name, text in filters.items()}
        page = await asyncio.to_thread(self.view.find, topic, values, limit=limit, after=after, order=order)
        return [self._plain(topic, row, personal) for row in page.rows], page.after

    async def timeline(self, topic: str, ext_id: str, *, personal: bool) -> list[Document]:
        aggregate = self._aggregates[topic]
        try:
            async with asyncio.timeout(TIMELINE_S):
                history = await self._topics.history(aggregate, ext_id)
        except (KafkaError, TimeoutError) as error:
            hint = f"Ask again; or `kounter timeline {aggregate.topic}`, which may take its time."
            raise KafkaSilent(f"the topic was not read within {TIMELINE_S:.0f} s", hint=hint) from error
        entries = timeline(aggregate.evolve, history)
        return [entry_as_dict(aggregate.layout, entry, personal=personal) for entry in entries]

    async def health(self) -> Health:
        async with self._asking:
            if self._health is None or time.monotonic() - self._health[0] > HEALTH_CACHE_S:
                self._health = (time.monotonic(), await self._ask())
            return self._health[1]

    async def _ask(self) -> Health:
        try:
            async with asyncio.timeout(5), LagMeter(self._topics.kafka) as meter:
                groups = {d.name: await meter.of_domain(d) for d in self._domains}
                standing = await beside_domains(meter, self._queue)
        except (KafkaError, TimeoutError):
            return Health(ready=False, view_behind=self._feeder.behind, unreadable=_places(unreadable_here()))
        domains = {name: self._domain_health(group) for name, group in groups.items()}
        standing += [batch for group in groups.values() for batch in group.unreadable]
        standing += self._feeder.unreadable
        # A domain that nobody has ever run here, and for which nothing waits, is none of this deployment.
        run = [d for name, d in domains.items() if d.workers or d.lag_records or self._moved[name][0] > 0]
        going = all(d.assigned and d.recovered and d.progressing for d in run) and not standing
        return Health(
            ready=bool(run) and self._feeder.caught_up and going,
            view_behind=self._feeder.behind,
            unreadable=_places(standing),
            domains=domains,
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


def _value(name: str, kind: str, text: str) -> Any:
    """A filter's text as the column has it. Raises InvalidInput."""
    try:
        if kind == "long":
            return _in_range(int(text))
        if kind == "double":
            return _finite(float(text))
        if kind == "boolean":
            return {"true": 1, "false": 0}[text]
        if kind == "timestamp-micros":
            return _in_range(to_micros(datetime.fromisoformat(text)))
        if kind == "decimal":
            return _cents(Decimal(text))
    except (ValueError, KeyError, ArithmeticError):
        raise InvalidInput(name, EXPECTED[kind], text) from None
    return text


def _cents(amount: Decimal) -> str:
    """As states have it: ``5`` is ``5.00``."""
    if not amount.is_finite():
        raise ValueError(amount)
    return str((amount + 0).quantize(Decimal("0.01"), context=Context(prec=40, traps=[InvalidOperation, Inexact])))


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError(number)
    return number


def _in_range(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise ValueError(number)
    return number
