"""Settings with the addresses of what runs filled in."""

from __future__ import annotations

from kounter.embedded.runfile import RunFile
from kounter.settings import Settings, load
from schemas.errors import BrokenSetup


def connected_settings() -> Settings:
    """The settings; where no Kafka or registry is named, those of the stack that runs in the data folder.

    Raises BrokenSetup if nothing is named and nothing runs.
    """
    settings = _connected(load())
    from streams.kafka.batches import passing  # aiokafka, which is not needed where nothing runs

    passing.install(settings.kafka)
    return settings


def _connected(settings: Settings) -> Settings:
    if settings.kafka.bootstrap_servers and settings.registry.url:
        return settings
    run = RunFile(settings.data_dir)
    kafka, registry = run.get("kafka"), run.get("registry")
    if kafka is None or registry is None:
        raise BrokenSetup(
            f"no Kafka is named, and none runs in {settings.data_dir}",
            hint="Start `kounter up`, or set KOUNTER_KAFKA__BOOTSTRAP_SERVERS and KOUNTER_REGISTRY__URL.",
        )
    return settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"bootstrap_servers": kafka.address}),
            "registry": settings.registry.model_copy(update={"url": registry.address}),
        }
    )
