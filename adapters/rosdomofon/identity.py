"""Which operator it is: its Kafka by the cluster's id, its REST by the company whose accounts it shows us.

Each is looked at by itself, as each may be away without the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import httpx
from aiokafka.errors import KafkaError

from adapters.identity import Sure
from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.settings import OperatorSettings
from schemas.errors import BrokenSetup, DeliveryError, DeliveryUnavailable
from schemas.rosdomofon import OperatorAction, OperatorCommand
from streams.kafka.cluster import cluster_id

BY_KAFKA: Final = "rosdomofon-kafka"
BY_REST: Final = "rosdomofon-rest"
"""What is kept of each, by these names."""
Identity = dict[str, Any]
Settle = Callable[[str, Callable[[Identity | None], Identity | None]], Awaitable[None]]
"""Has what is known of a system shown to a function, and keeps what that returns."""
HINT: Final = (
    "Set KOUNTER_ROSDOMOFON__… to that operator and account. To move to this one for good there is `kounter adopt "
    "operator`: it says what it forgets."
)


def of_cluster(known: Identity | None, cluster: str) -> Identity:
    """What is known from now on of the operator's Kafka. Raises BrokenSetup if another one came."""
    if known and cluster and known["cluster"] and known["cluster"] != cluster:
        raise BrokenSetup(
            f"another operator: RosDomofon's Kafka was the cluster {known['cluster']}, now it is {cluster}", hint=HINT
        )
    return {"cluster": cluster or (known or {}).get("cluster", "")}


def of_company(known: Identity | None, host: str, companies: Mapping[str, str]) -> Identity:
    """The same of its REST. Without an account there the address decides."""
    if known is not None:
        shown = known["companies"].keys() & companies.keys()
        unlike = bool(known["companies"] and companies) and not shown
        if unlike or (known["host"] != host and not shown):
            raise BrokenSetup(
                f"another operator: RosDomofon's REST was {_name(known['host'], known['companies'])}, "
                f"now it is {_name(host, companies)}",
                hint=HINT,
            )
    return {"host": host, "companies": dict(companies) or (known or {}).get("companies", {})}


class SameOperator:
    """Asks the operator for nothing while it is not sure which operator answers."""

    def __init__(self, actions: Any, settings: OperatorSettings, api: RosDomofonAPI | None, settle: Settle) -> None:
        self._actions, self._settings, self._api, self._settle = actions, settings, api, settle
        self._kafka, self._rest = Sure(self._look_at_kafka), Sure(self._look_at_rest)

    async def deliver(self, command: OperatorCommand, attempt: int, uncertain: bool) -> Any:
        """As `OperatorActions`. Raises also BrokenSetup: another operator answers."""
        by_kafka = command.action == OperatorAction.SEND_MESSAGE and not command.by_rest
        sure = self._kafka if by_kafka else self._rest
        await sure.ensure()
        try:
            return await self._actions.deliver(command, attempt, uncertain)
        except DeliveryError as error:
            sure.failed(error)
            raise

    async def begin(self) -> None:
        """At the start: raises BrokenSetup for another one. What is away is looked at before the first call."""
        for sure in (self._kafka, self._rest):
            await sure.begin()

    async def _look_at_kafka(self) -> None:
        await look_at_cluster(self._settings, self._settle)

    async def _look_at_rest(self) -> None:
        if self._api is not None:
            await look_at_company(self._api, self._settings, self._settle)


async def look_at_cluster(settings: OperatorSettings, settle: Settle) -> str:
    """The cluster's id. Raises BrokenSetup if another one answers, DeliveryUnavailable if none does."""
    cluster = await cluster_of(settings)
    await _settled(settle, BY_KAFKA, lambda known: of_cluster(known, cluster))
    return cluster


async def look_at_company(api: RosDomofonAPI, settings: OperatorSettings, settle: Settle) -> None:
    """Raises BrokenSetup if we are shown another company's accounts, DeliveryError if none can be seen."""
    host, companies = httpx.URL(settings.base_url).host, await companies_of(api)
    await _settled(settle, BY_REST, lambda known: of_company(known, host, companies))


async def _settled(settle: Settle, system: str, decide: Callable[[Identity | None], Identity]) -> None:
    try:
        await settle(system, decide)
    except KafkaError as error:
        raise DeliveryUnavailable(f"it can't be looked up which operator is ours: {type(error).__name__}") from None


async def cluster_of(settings: OperatorSettings) -> str:
    """Raises DeliveryUnavailable."""
    try:
        return await cluster_id(settings.kafka)
    except (KafkaError, OSError) as error:
        raise DeliveryUnavailable(f"rosdomofon kafka: it does not say who it is: {type(error).__name__}") from None


async def companies_of(api: RosDomofonAPI) -> dict[str, str]:
    """Short names by id, of the companies whose accounts we are shown. Raises DeliveryError."""
    found = (account.company for account in await api.get_accounts())
    return {str(one.id): one.short_name or "" for one in found if one is not None}


def _name(host: str, companies: Mapping[str, str]) -> str:
    names = ", ".join(name or id for id, name in sorted(companies.items()))
    return f"{host} ({names or 'no company seen'})"
