"""``kounter rosdomofon``: the bridge from the operator's own Kafka, and its twin's abonents."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from aiokafka.structs import ConsumerRecord
from loguru import logger
from pydantic import SecretStr

from adapters.identity import Sure
from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.bridge import Bridge, Bury
from adapters.rosdomofon.dead_letters import SOURCE, STAGE
from adapters.rosdomofon.identity import look_at_cluster, look_at_company, of_cluster
from adapters.rosdomofon.inbound_log import heard
from adapters.rosdomofon.reconciliation import Comparison
from adapters.rosdomofon.reconciliation_state import Known
from adapters.rosdomofon.settings import OperatorSettings
from adapters.rosdomofon.twin.server import PASSWORD, USERNAME
from kounter.blocked import leave_with_64_if_standing
from kounter.embedded.runfile import RunFile
from kounter.identity import guarded, ready
from kounter.runner import note_when_ready, on_stop, run
from kounter.settings import Settings, load
from kounter.shutdown import end_within
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.errors import BrokenSetup, KounterError
from streams.domains import DOMAINS
from streams.kafka import dead_letters, identities
from streams.kafka.cluster import keep_asking
from streams.kafka.idempotent import IdempotentProducer
from streams.kafka.producer import RecordProducer
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import REQUEST_BYTES
from streams.topology import topics_of

TWIN: Final = "twin-rosdomofon"
TWIN_COMPANY: Final = "SK_SB"

app = typer.Typer(no_args_is_help=True, help="The intercom operator RosDomofon.")


@app.command()
def bridge() -> None:
    """Take what stands on the operator's own Kafka over to ours, from where the issued group was.

    One is enough; a second one stands by. Leaves with 64 if the setup is broken or the operator denies us, 69 if a
    cluster or the registry can't be reached at the start.
    """
    run(_bridge, ends_when_denied=True)
    leave_with_64_if_standing()


@app.command()
def say(
    abonent: Annotated[str, typer.Argument(help="A phone as 79131234567, or the id of one that is known.")],
    text: Annotated[str, typer.Argument(help="The words.")],
) -> None:
    """Let an abonent of the running twin write to the company, as from the operator's app."""
    twin = RunFile(load().data_dir).get(TWIN)
    if twin is None:
        raise BrokenSetup("no RosDomofon twin runs", hint="Start `kounter up --twins` or `kounter twins rosdomofon`.")
    who = {"phone": int(abonent)} if re.fullmatch(r"7[0-9]{10}", abonent) else {"abonent_id": abonent}
    answer = httpx.post(f"{twin.address}/_twin/say", json={**who, "text": text}, trust_env=False)
    if answer.status_code != httpx.codes.OK:
        raise BrokenSetup(f"the twin refuses: {answer.text.strip()}", hint="Name a phone as 79131234567.")
    said = answer.json()
    print(f"abonent {said['abonent_id']} at {said['place']}")


async def _bridge(settings: Settings) -> None:
    kafka, run_file = settings.kafka, RunFile(settings.data_dir)
    operator = with_operator(settings.rosdomofon, run_file, kafka)
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(SchemaRegistry(settings.registry))
        serde = Serde(registry)
        domain = DOMAINS["domofon"]
        await ready(settings, serde, topics_of([domain]), [aggregate.topic for aggregate in domain.aggregates])
        settle = partial(identities.settle, kafka)
        known_cluster = {"cluster": await look_at_cluster(operator, settle)}
        producer = await stack.enter_async_context(RecordProducer(kafka, serde, SOURCE))
        bury = await stack.enter_async_context(_burying(kafka))
        known = stack.enter_context(_known(settings.data_dir))
        carrying = Bridge(operator.kafka, producer, bury, known.came)
        beside = [asyncio.create_task(note_when_ready(run_file, "bridge-rosdomofon", carrying.ready))]
        if operator.username and operator.compare_minutes:
            api = await stack.enter_async_context(RosDomofonAPI(operator))
            await Sure(partial(look_at_company, api, operator, settle)).begin()
            comparing = Comparison(
                api,
                producer,
                known,
                partial(heard, operator.kafka),
                abonents=operator.compare_abonents,
                days=operator.compare_days,
            )
            beside.append(asyncio.create_task(comparing.run(operator.compare_minutes), name="comparison"))
        for task in beside:
            task.add_done_callback(_tell_of_failure)
        on_stop(partial(_stop, carrying))
        try:
            async with guarded(settings, serde, keep_asking(operator.kafka, partial(of_cluster, known_cluster))):
                await carrying.run()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)


def _stop(carrying: Bridge) -> None:
    end_within()  # with the operator's cluster away a commit does not return
    carrying.stop()


def _tell_of_failure(task: asyncio.Task[None]) -> None:
    """At once, not at the bridge's end: messages go on without it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.opt(exception=error).error("the bridge goes on without its {}", task.get_name())


@contextmanager
def _known(folder: Path) -> Iterator[Known]:
    (folder / SOURCE).mkdir(parents=True, exist_ok=True)
    known = Known(folder / SOURCE / "known.sqlite")
    try:
        yield known
    finally:
        known.close()


@asynccontextmanager
async def _burying(kafka: KafkaSettings) -> AsyncIterator[Bury]:
    """Dead letters of records that stand on another cluster."""
    producer = IdempotentProducer(**kafka.client_options(), max_request_size=REQUEST_BYTES)
    await producer.current()

    async def bury(record: ConsumerRecord, error: KounterError) -> Any:
        letter = dead_letters.dead_letter(record.topic, record, error, STAGE)
        partition = record.partition % kafka.partitions
        return await (
            await producer.send(
                dead_letters.TOPIC, letter.value, letter.key, partition=partition, headers=letter.headers
            )
        )

    try:
        yield bury
    finally:
        await producer.stop()


def with_operator(settings: OperatorSettings, run_file: RunFile, kafka: KafkaSettings) -> OperatorSettings:
    """The operator's settings; where none is named, those of the twin that runs here. Raises BrokenSetup."""
    if settings.named:
        return settings
    twin = run_file.get(TWIN)
    if twin is None:
        raise BrokenSetup(
            "no operator is named, and no twin runs",
            hint="Set KOUNTER_ROSDOMOFON__KAFKA__BOOTSTRAP_SERVERS, …__COMPANIES and …__GROUP_ID, "
            "or start `kounter twins rosdomofon`.",
        )
    logger.info("no operator is named: taking the twin (pid {})", twin.pid)
    theirs = {"bootstrap_servers": kafka.bootstrap_servers, "group_id": "rosdomofon-twin", "companies": (TWIN_COMPANY,)}
    return settings.model_copy(
        update={
            "base_url": twin.address,
            "username": USERNAME,
            "password": SecretStr(PASSWORD),
            "kafka": settings.kafka.model_copy(update=theirs),
        }
    )
