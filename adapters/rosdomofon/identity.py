"""The operator's identity: the id of its Kafka cluster, and the companies whose accounts its REST shows.

Each is checked by itself, as each may be unavailable without the other.
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
"""Names under which the two identities are stored."""
Identity = dict[str, Any]
Settle = Callable[[str, Callable[[Identity | None], Identity | None]], Awaitable[None]]
"""Calls a function with the stored identity of a system, None if there is none, and stores the one that it returns."""
HINT: Final = (
    "Set KOUNTER_ROSDOMOFON__… to that operator and account. To switch to this one for good, run `kounter adopt "
    "operator`, which lists what it forgets."
)


def of_cluster(known: Identity | None, cluster: str) -> Identity:
    """Return the identity of the operator's Kafka to store. Raises BrokenSetup if the cluster's id differs."""
    if known and cluster and known["cluster"] and known["cluster"] != cluster:
        raise BrokenSetup(
            f"another operator: RosDomofon's Kafka was the cluster {known['cluster']}, now it is {cluster}", hint=HINT
        )
    return {"cluster": cluster or (known or {}).get("cluster", "")}


def of_company(known: Identity | None, host: str, companies: Mapping[str, str]) -> Identity:
    """Return the identity of the operator's REST to store; without an account there the address decides.

    Raises BrokenSetup if none of the companies is a known one.
    """
    if known is not None:
        common = known["companies"].keys() & companies.keys()
        others = bool(known["companies"] and companies) and not common
        if others or (known["host"] != host and not common):
            raise BrokenSetup(
                f"another operator: RosDomofon's REST was {_name(known['host'], known['companies'])}, "
                f"now it is {_name(host, companies)}",
                hint=HINT,
            )
    return {"host": host, "companies": dict(companies) or (known or {}).get("companies", {})}


class SameOperator:
    """Executes commands only while the operator that answers is known to be the stored one."""

    def __init__(self, actions: Any, settings: OperatorSettings, api: RosDomofonAPI | None, settle: Settle) -> None:
        self._actions, self._settings, self._api, self._settle = actions, settings, api, settle
        self._kafka, self._rest = Sure(self._look_at_kafka), Sure(self._look_at_rest)

    async def deliver(self, command: OperatorCommand, attempt: int, uncertain: bool) -> Any:
        """Execute a command as `OperatorActions.deliver`. Raises DeliveryError, BrokenSetup for another operator."""
        by_kafka = command.action == OperatorAction.SEND_MESSAGE and not command.by_rest
        sure = self._kafka if by_kafka else self._rest
        await sure.ensure()
        try:
            return await self._actions.deliver(command, attempt, uncertain)
        except DeliveryError as error:
            sure.failed(error)
            raise

    async def begin(self) -> None:
        """Check both identities at the start; one that is unavailable is checked before the first call.

        Raises BrokenSetup if another operator answers.
        """
        for sure in (self._kafka, self._rest):
            await sure.begin()

    async def _look_at_kafka(self) -> None:
        await look_at_cluster(self._settings, self._settle)

    async def _look_at_rest(self) -> None:
        if self._api is not None:
            await look_at_company(self._api, self._settings, self._settle)


async def look_at_cluster(settings: OperatorSettings, settle: Settle) -> str:
    """Check and return the cluster's id. Raises BrokenSetup if it differs, DeliveryUnavailable without an answer."""
    cluster = await cluster_of(settings)
    await _settled(settle, BY_KAFKA, lambda known: of_cluster(known, cluster))
    return cluster


async def look_at_company(api: RosDomofonAPI, settings: OperatorSettings, settle: Settle) -> None:
    """Check the companies. Raises BrokenSetup for another company's accounts, DeliveryError without an answer."""
    host, companies = httpx.URL(settings.base_url).host, await companies_of(api)
    await _settled(settle, BY_REST, lambda known: of_company(known, host, companies))


async def _settled(settle: Settle, system: str, decide: Callable[[Identity | None], Identity]) -> None:
    try:
        await settle(system, decide)
    except KafkaError as error:
        raise DeliveryUnavailable(
            f"the stored identity of the operator can't be read: {type(error).__name__}"
        ) from None


async def cluster_of(settings: OperatorSettings) -> str:
    """Return the id of the operator's Kafka cluster. Raises DeliveryUnavailable."""
    try:
        return await cluster_id(settings.kafka)
    except (KafkaError, OSError) as error:
        raise DeliveryUnavailable(
            f"rosdomofon kafka: no answer with the cluster's id: {type(error).__name__}"
        ) from None


async def companies_of(api: RosDomofonAPI) -> dict[str, str]:
    """Return the short names, by id, of the companies whose accounts the REST shows. Raises DeliveryError."""
    found = (account.company for account in await api.get_accounts())
    return {str(one.id): one.short_name or "" for one in found if one is not None}


def _name(host: str, companies: Mapping[str, str]) -> str:
    names = ", ".join(name or id for id, name in sorted(companies.items()))
    return f"{host} ({names or 'no company seen'})"
