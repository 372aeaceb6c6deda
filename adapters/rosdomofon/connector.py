"""The connector of the intercom operator RosDomofon: its own Kafka, and its REST."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from adapters.connector import (
    Adoption,
    Cluster,
    Connector,
    Context,
    Deliveries,
    Inbound,
    OpenSinks,
    OpenSource,
    ServedTwin,
    Twin,
)
from adapters.rosdomofon.settings import OUT, OperatorSettings
from schemas.errors import BrokenSetup
from streams.rules import DomofonRules

if TYPE_CHECKING:
    from schemas.codec.serde import Serde

NAME: Final = "rosdomofon"
SINKS: Final = {NAME: "rosdomofon.commands", f"{NAME}-rest": "rosdomofon.requests"}
TWIN_COMPANY: Final = "SK_SB"
ANSWER: Final = "Ваше сообщение получено, оператор ответит здесь."


@asynccontextmanager
async def _sinks(context: Context) -> AsyncIterator[OpenSinks]:
    from adapters.rosdomofon.actions import OperatorActions
    from adapters.rosdomofon.api import RosDomofonAPI
    from adapters.rosdomofon.identity import SameOperator
    from adapters.rosdomofon.kafka.client import RosDomofonKafka
    from adapters.rosdomofon.sink import RosDomofonRestSink, RosDomofonSink
    from streams.kafka import identities

    operator = context.part(OperatorSettings)
    async with AsyncExitStack() as stack:
        kafka = await stack.enter_async_context(RosDomofonKafka(operator.kafka))
        api = await stack.enter_async_context(RosDomofonAPI(operator)) if operator.username else None
        settle = partial(identities.settle, context.kafka)
        same = SameOperator(OperatorActions(operator, kafka, api), operator, api, settle)
        yield OpenSinks([RosDomofonSink(same), RosDomofonRestSink(same)], operator.timeout_s, same.begin)


def _written() -> Iterable[str]:
    from schemas import domofon
    from schemas.record import contracts

    return {c.topics[0] for c in contracts() if c.record.__module__ == domofon.__name__}


@asynccontextmanager
async def _bridge(context: Context, serde: Serde) -> AsyncIterator[OpenSource]:
    from adapters.rosdomofon.source import open_bridge

    async with open_bridge(context, serde) as opened:
        yield opened


@asynccontextmanager
async def _serve(context: Context, host: str, port: int) -> AsyncIterator[ServedTwin]:
    """The operator's REST and, if a Kafka runs, its topics there. The twin keeps its data in the data folder."""
    from adapters.rosdomofon.twin.kafka import TwinOperator
    from adapters.rosdomofon.twin.server import RosDomofonTwin

    folder, kafka = context.data_dir / "twins", context.kafka
    folder.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        twin = RosDomofonTwin(host=host, port=port, db_path=folder / "rosdomofon.sqlite")
        await stack.enter_async_context(twin)
        if kafka.bootstrap_servers:
            operator = TwinOperator(kafka, twin.operator, [TWIN_COMPANY])
            twin.app.control.speaking = await stack.enter_async_context(operator)
        company = f"company {TWIN_COMPANY}" if kafka.bootstrap_servers else "without Kafka"
        yield ServedTwin(twin.url, f"{twin.url}, {company}")


def _stand_in(context: Context, address: str) -> OperatorSettings:
    from adapters.rosdomofon.twin.server import PASSWORD, USERNAME

    settings = context.part(OperatorSettings)
    kafka = {
        "bootstrap_servers": context.kafka.bootstrap_servers,
        "group_id": "rosdomofon-twin",
        "companies": (TWIN_COMPANY,),
    }
    return settings.model_copy(
        update={
            "base_url": address,
            "username": USERNAME,
            "password": SecretStr(PASSWORD),
            "kafka": settings.kafka.model_copy(update=kafka),
        }
    )


def _rules(context: Context) -> dict[str, str]:
    """The twin's company acknowledges messages, unless rules are set."""
    if context.part(DomofonRules).acknowledgements:
        return {}
    return {"KOUNTER_DOMOFON__ACKNOWLEDGEMENTS": json.dumps({TWIN_COMPANY: ANSWER})}


async def _adoption(context: Context) -> Adoption | None:
    import httpx

    from adapters.identity import known_identity
    from adapters.rosdomofon.api import RosDomofonAPI
    from adapters.rosdomofon.identity import BY_KAFKA, BY_REST, cluster_of, companies_of, of_cluster, of_company

    operator = context.part(OperatorSettings)
    cluster, host, companies = await cluster_of(operator), httpx.URL(operator.base_url).host, dict[str, str]()
    if operator.username:
        async with RosDomofonAPI(operator) as api:
            companies = await companies_of(api)
    try:
        of_cluster(await known_identity(context.kafka, BY_KAFKA), cluster)
        of_company(await known_identity(context.kafka, BY_REST), host, companies)
    except BrokenSetup as error:
        return Adoption(
            error.message,
            f"{host}, cluster {cluster}",
            "{made} notes of what was said there, and what the comparison has seen",
            {BY_KAFKA: of_cluster(None, cluster), BY_REST: of_company(None, host, companies)},
        )
    return None


def _cluster(context: Context) -> Cluster:
    kafka = context.part(OperatorSettings).kafka
    return Cluster(kafka, (*kafka.topics_in(), *(f"{OUT}{company}" for company in kafka.companies)))


ROSDOMOFON: Final = Connector(
    name=NAME,
    title="RosDomofon",
    noun="operator",
    settings=OperatorSettings,
    is_set=lambda context: context.part(OperatorSettings).named,
    variables="KOUNTER_ROSDOMOFON__KAFKA__BOOTSTRAP_SERVERS, …__COMPANIES and …__GROUP_ID",
    deliveries=Deliveries(SINKS, "rosdomofon.responses", _sinks),
    source=Inbound(process=f"bridge-{NAME}", writes=_written, open=_bridge),
    twin=Twin(port=7183, serve=_serve, stand_in=_stand_in, rules=_rules),
    domains=("domofon",),
    adoption=_adoption,
    cluster=_cluster,
    files=[NAME],
)
