"""Quix Streams, exactly once: ``python -m bench.quix_worker BOOTSTRAP REGISTRY RUN RECORDS FOLDER SOURCE``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from quixstreams import Application
from quixstreams.models import Deserializer, TopicConfig

from bench.meter import Meter
from bench.stock_worker import decode, encode
from bench.workload import OUTBOX, PARTITIONS, merge, save


class Decode(Deserializer):  # type: ignore[misc]
    """Deserializer of Avro to a dict."""

    def __call__(self, value: bytes, ctx: Any) -> Any:
        return decode(value)


def main(bootstrap: str, run: str, records: int, folder: Path, source: str) -> None:
    """Measure, write ``result.json`` and exit."""
    app = Application(
        broker_address=bootstrap,
        consumer_group=run,
        auto_offset_reset="earliest",
        state_dir=str(folder),
        loglevel="WARNING",
        processing_guarantee="exactly-once",
        use_changelog_topics=True,
    )
    topic = app.topic(source, value_deserializer=Decode(), key_deserializer="str")
    config = TopicConfig(num_partitions=PARTITIONS, replication_factor=1)
    outbox = app.topic(f"{OUTBOX}-{run}", value_serializer="bytes", key_serializer="str", config=config)
    meter = Meter(records)

    def fold(event: dict[str, Any], state: Any) -> bytes | None:
        merged, old = merge(state.get("premise"), event)
        if merged is not None:
            state.set("premise", merged)
        if meter.add():
            app.stop()
        return encode(merged, old) if merged is not None and old is not None else None

    frame = app.dataframe(topic)
    frame = frame.apply(fold, stateful=True)
    frame = frame[frame.apply(lambda value: value is not None)]
    frame.to_topic(outbox)
    app.run()
    save(meter.result(), folder / "result.json")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]), sys.argv[6])
