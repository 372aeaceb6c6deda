"""Faust as its users write it: ``python -m bench.stock_worker BOOTSTRAP REGISTRY RUN RECORDS FOLDER``."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from pathlib import Path
from typing import Any

import fastavro
import faust
import orjson

from bench.meter import Meter
from bench.workload import OUTBOX, PARTITIONS, Premise, StatusChanged, merge, save
from schemas.codec.avro import avro_schema
from schemas.record import contract

IN = fastavro.parse_schema(avro_schema(contract(Premise)))
OUT = fastavro.parse_schema(avro_schema(contract(StatusChanged)))


def encode(event: dict[str, Any], old: str) -> bytes:
    """Returns an output record, with the same wire header as the lane's."""
    out = io.BytesIO()
    out.write(b"\0\0\0\0\1")
    row = {"ext_id": event["ext_id"], "update_id": event["update_id"], "old": old or None, "new": event["status"]}
    fastavro.schemaless_writer(out, OUT, {**row, "updated_at": event["updated_at"]})
    return out.getvalue()


def decode(value: bytes) -> dict[str, Any]:
    """Returns an input record."""
    body = io.BytesIO(value)
    body.seek(5)
    event: Any = fastavro.schemaless_reader(body, IN, None)
    moment = event["updated_at"]
    event["updated_at"] = None if moment is None else round(moment.timestamp() * 1e6)
    return dict(event)


def main(bootstrap: str, run: str, records: int, folder: Path, source: str) -> None:
    """Measure, write ``result.json`` and exit."""
    app = faust.App(
        run,
        broker=f"kafka://{bootstrap}",
        key_serializer="raw",
        value_serializer="raw",
        store="rocksdb://?driver=rocksdict",
        datadir=str(folder),
        topic_partitions=PARTITIONS,
        topic_replication_factor=1,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
    )
    topic = app.topic(source, key_type=bytes, value_type=bytes, value_serializer="raw", key_serializer="raw")
    table = app.Table("premises", key_type=bytes, value_type=bytes)
    outbox = app.topic(
        f"{OUTBOX}-{run}", key_type=bytes, value_type=bytes, value_serializer="raw", key_serializer="raw"
    )
    meter = Meter(records)

    @app.agent(topic)  # type: ignore[untyped-decorator]
    async def fold(stream: Any) -> None:
        async for key, value in stream.items():
            event = decode(value)
            data = table.get(key)
            state, old = merge(None if data is None else orjson.loads(data), event)
            if state is not None:
                table[key] = orjson.dumps(state)
                if old is not None:
                    await outbox.send(key=key, value=encode(state, old))
            if meter.add():
                save(meter.result(), folder / "result.json")
                asyncio.get_running_loop().call_later(4, os._exit, 0)  # its changelog is still on the way

    worker = faust.Worker(app, loglevel="WARNING")
    worker.execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]), sys.argv[6])
