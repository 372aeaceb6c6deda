"""The Faust app of one domain.

The whole flow is:

    source topics ─► agent ─► lane of the partition ─► transaction: changelog + outboxes + source offsets ─► RocksDB
                                 fold, react, decide                         │
                                                                             └─► standbys, views, deliveries

One agent takes the records of all the domain's topics, whole batches at a time (`streams.lane.faust_transport`), and
hands them to the lane of their partition (`streams.lane.lane`). The one Faust table stands for the changelog: Faust
recovers it into the partition's RocksDB and keeps it on standby (`streams.lane.faust_store`); nothing is written
through it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import faust
from faust.serializers.schemas import Schema
from loguru import logger

from schemas.codec.serde import Serde
from streams.aggregate import Domain
from streams.kafka.settings import METADATA_AGE_MS, KafkaSettings
from streams.lane import faust_store, faust_transport
from streams.lane.lanes import COMMIT_EVERY_S, Lanes
from streams.lane.settings import LaneSettings

STATS_EVERY_S: Final = 10.0
FETCH_BYTES: Final = 2 << 20
"""Bytes fetched per partition and request. 512 KiB restores 209k records/s, 2 MiB 330k, as each fetch is waited
for; more only costs memory while catching up.
"""
POLL_RECORDS: Final = 20_000
"""Records per poll, over all partitions: until a poll, fetched data is bytes, which take far less memory."""
TABLE: Final = "state"


class RawBatches(Schema):  # type: ignore[misc]
    """Passes a batch through undecoded: the lane detects a record that can't be decoded and dead-letters it. Faust
    would acknowledge it.
    """

    def compile(self, app: Any, **options: Any) -> Any:
        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return app.create_event(None, message.value, message.headers, message)

        return decode


class DomainApp(faust.App):  # type: ignore[misc]
    """A Faust app with lanes."""

    lanes: Lanes

    def FlowControlQueue(self, maxsize: int | None = None, *, clear_on_resume: bool = False) -> Any:
        """Returns a queue that is never emptied. Faust would empty it whenever the flow is resumed, which at the end of
        a recovery is after sources and standbys are read again: records queued until then were missed until a gap
        showed it.
        """
        return super().FlowControlQueue(maxsize)

    async def on_stop(self) -> None:
        await self.lanes.stop()
        await super().on_stop()


def create_app(
    domain: Domain, serde: Serde, kafka: KafkaSettings, settings: LaneSettings, data_dir: Path, group: str | None = None
) -> DomainApp:
    """Returns the app of ``domain``; its consumer group is the domain's name. ``data_dir`` is this worker's own."""
    faust_transport.install()
    faust_store.install()
    data_dir.mkdir(parents=True, exist_ok=True)
    app = _app(group or domain.name, kafka, settings, data_dir)
    lanes = app.lanes = Lanes(app, domain, serde, kafka, settings, data_dir / domain.name)
    changelog = app.topic(domain.changelog, schema=RawBatches(), partitions=kafka.partitions, acks=False)
    app.Table(
        TABLE,
        partitions=kafka.partitions,
        key_type=bytes,
        value_type=bytes,
        schema=RawBatches(),
        changelog_topic=changelog,
        recovery_buffer_size=64,  # 1 would make Faust resume the active partitions and re-apply older states
        standby_buffer_size=16,
    )
    sources = app.topic(*domain.sources, schema=RawBatches(), acks=False, partitions=kafka.partitions)

    @app.agent(sources, name=f"fold-{domain.name}")  # type: ignore[untyped-decorator]
    async def fold(stream: Any) -> None:
        app.consumer.inboxes = (stream.channel.queue, app.tables.changelog_queue)
        async for event in stream.noack().events():
            await lanes.submit(event.message)

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    async def on_revoked(app: Any, revoked: Any, **options: Any) -> None:
        await lanes.drain()

    _timers(app, domain, settings)
    return app


def _app(group: str, kafka: KafkaSettings, settings: LaneSettings, data_dir: Path) -> DomainApp:
    return DomainApp(
        group,
        broker=[f"{faust_transport.SCHEME}://{server.strip()}" for server in kafka.bootstrap_servers.split(",")],
        broker_credentials=_credentials(kafka),
        store=f"{faust_store.SCHEME}://",
        datadir=str(data_dir),
        key_serializer="raw",
        value_serializer="raw",
        topic_partitions=kafka.partitions,
        topic_replication_factor=kafka.replication_factor,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=settings.standby_replicas,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=FETCH_BYTES,
        consumer_max_poll_records=POLL_RECORDS,
        consumer_metadata_max_age_ms=METADATA_AGE_MS,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=1.0,
        broker_request_timeout=max(20.0, settings.session_timeout_s + 5),
        broker_max_poll_interval=300.0,
        stream_recovery_delay=0.0,
        web_enabled=False,
    )


def _timers(app: DomainApp, domain: Domain, settings: LaneSettings) -> None:
    lanes = app.lanes
    if settings.guarantee == "at_least_once":

        @app.timer(COMMIT_EVERY_S)  # type: ignore[untyped-decorator]
        async def commit() -> None:
            await lanes.sources.commit_now()

    @app.timer(STATS_EVERY_S)  # type: ignore[untyped-decorator]
    async def log_stats() -> None:
        logger.info("{}: {}", domain.name, lanes.processor.stats.as_dict())
        if said := lanes.processor.unknown_fields.news():
            logger.warning("{}: records with fields that are not ours: {}", domain.name, said)


def _credentials(kafka: KafkaSettings) -> Any:
    options = kafka.client_options()
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.username,
            password=kafka.password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=options["ssl_context"],
        )
    return faust.SSLCredentials(options["ssl_context"]) if kafka.security_protocol == "SSL" else None
