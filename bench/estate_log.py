"""``python -m bench.estate_log``: the main backend's log. How fast it is written, copied and replayed, and how late a
live change reaches a client; and the memory that clients cost which read nothing.

Kafka and registry are processes of their own; writer, copy and server run in this one, the replaying clients in
another.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from websockets.asyncio.client import connect

from adapters.backend.readers import Readers
from adapters.backend.server import serving
from adapters.backend.settings import BackendSettings
from bench.meter import cpu_seconds, peak_mb, rss_mb
from kounter import logs
from kounter.embedded.ports import HOST, free_port
from kounter.embedded.stack import EmbeddedStack
from kounter.process.sockets import bind
from schemas.backend import CHANGES, EVENTS, BackendChange
from schemas.codec.registry import SchemaRegistry
from schemas.codec.serde import Serde
from schemas.codec.settings import RegistrySettings
from streams.backend_log.feeder import LogFeeder
from streams.backend_log.topics import log_topics
from streams.backend_log.writer import LogWriter
from streams.collector import settle_collector
from streams.kafka.producer import RecordProducer
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import ensure_topics
from streams.topology import topics_of
from tables.event_log import EventLog

HOUSES: Final = 300
CLIENTS: Final = 20
LIVE_PER_S: Final = 500
LIVE_S: Final = 10
GROUP: Final = 2_000
"""Changes that are produced at once."""
STALL_S: Final = 8
LIMITS: Final = {
    "written_per_s": 20_000,
    "writer_cpu_ms_per_1k": 10.0,
    "replayed_per_s": 20_000,
    "live_p99_ms": 150.0,
    "stalled_rss_mb": 50,
}
FRAME: Final = json.dumps(
    {"ext_id": "p", "name": "Квартира", "type": "apartment", "price": 5_200_000, "size": 41.5, "status": "free"}
    | {"number": 12, "floor": 3, "rooms": 2, "photos": ["https://brusnika.example/plan.jpg"], "is_sold": False},
    ensure_ascii=False,
)
console = Console()


def main(
    premises: Annotated[int, typer.Option(min=1, help="Premises of the company, each with one change.")] = 200_000,
    quick: Annotated[bool, typer.Option(help="A tenth of them.")] = False,
) -> None:
    """Measure; the last line is one JSON object. Exits with 1 if a result is beyond its limit."""
    logs.set_up("WARNING")
    count = premises // 10 if quick else premises
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedStack(Path(folder, "stack"), free_port(), free_port()) as running,
    ):
        result = asyncio.run(measure(running, Path(folder), count))
    console.print("| | result | limit |\n|---|---|---|")
    for name, value in result.items():
        console.print(f"| {name} | {value} | {LIMITS.get(name, '')} |")
    print(json.dumps({"estate_log": result, "limits": LIMITS}))
    within = all(result[n] >= most if n.endswith("per_s") else result[n] <= most for n, most in LIMITS.items())
    raise typer.Exit(0 if within else 1)


async def measure(stack: Any, folder: Path, premises: int) -> dict[str, float]:
    """Returns the results by name."""
    kafka = KafkaSettings(bootstrap_servers=stack.bootstrap_servers)
    async with SchemaRegistry(RegistrySettings(url=stack.registry_url)) as registry:
        serde = Serde(registry)
        await ensure_topics(kafka, [*topics_of([]), *log_topics()])
        await serde.prepare([CHANGES, EVENTS])
        async with RecordProducer(kafka, serde, "kounter/estate") as producer:
            changes = [BackendChange(f"building/b-{n}", "building", f"b-{n}", '{"ext_id":"b"}') for n in range(HOUSES)]
            for n in range(premises):
                parents = (f"building/b-{n % HOUSES}",)
                changes.append(BackendChange(f"premise/p-{n}", "premise", f"p-{n}", FRAME, parents))
            for at in range(0, len(changes), GROUP):
                await asyncio.gather(*[await producer.send_nowait(one) for one in changes[at : at + GROUP]])
            writer = LogWriter(kafka, serde, folder, wait_s=60)
            async with _running(writer.run()):
                return await _write_and_read(kafka, serde, folder, writer, producer, len(changes))


async def _write_and_read(
    kafka: KafkaSettings, serde: Serde, folder: Path, writer: LogWriter, producer: RecordProducer, count: int
) -> dict[str, float]:
    while not writer.has_seat:
        await asyncio.sleep(0.01)
    settle_collector()
    result: dict[str, float] = {}
    began, cpu = time.perf_counter(), cpu_seconds()
    while writer.stats.written < count:
        await asyncio.sleep(0.01)
    result["written_per_s"] = round(count / (time.perf_counter() - began))
    result["writer_cpu_ms_per_1k"] = round((cpu_seconds() - cpu) / count * 1e6, 1)
    log = EventLog(folder / "log.sqlite")
    feeder = LogFeeder(kafka, serde, log, lambda: readers.wake())
    readers = Readers(log, feeder.catch_up)
    listener = bind(f"{HOST}:0", "none")
    try:
        async with _running(feeder.run()), serving(BackendSettings(), readers, dict, listener):
            url = f"ws://{HOST}:{listener.getsockname()[1]}/"
            began = time.perf_counter()
            while log.last < count:
                await asyncio.sleep(0.01)
            result["copied_per_s"] = round(count / (time.perf_counter() - began))
            replayed, began = count // 5, time.perf_counter()
            await (await _clients("replay", url, str(replayed), str(CLIENTS))).wait()
            result["replayed_per_s"] = round(replayed * CLIENTS / (time.perf_counter() - began))
            cuts = statistics.quantiles(await _live(f"{url}?after={log.last}", producer), n=100)
            result |= {"live_p50_ms": round(cuts[49], 1), "live_p99_ms": round(cuts[98], 1), "rss_mb": peak_mb()}
            result["stalled_rss_mb"] = await _stalled(url)
    finally:
        await asyncio.get_running_loop().shutdown_default_executor()
        log.close()
    return result


async def _clients(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.estate.log_clients", *arguments)


async def _stalled(url: str) -> int:
    """Returns the growth of this process's memory in MB while clients read nothing of what they asked for."""
    before = most = rss_mb()
    clients = await _clients("stall", url, str(STALL_S))
    leaving = asyncio.create_task(clients.wait())
    while not leaving.done():
        most = max(most, rss_mb())
        await asyncio.sleep(0.05)
    if leaving.result():
        raise SystemExit(f"the stalled clients exited with {leaving.result()}")
    return most - before


async def _live(url: str, producer: RecordProducer) -> list[float]:
    """Returns the milliseconds from the time at which each change was due to its frame at a client."""
    due: list[float] = []
    latencies: list[float] = []

    async def receive() -> None:
        async with connect(url, close_timeout=0.1) as socket:
            while len(latencies) < LIVE_PER_S * LIVE_S:
                frame = json.loads(await socket.recv())
                latencies.append((time.perf_counter() - due[int(frame["data"]["data"]["ext_id"])]) * 1_000)

    receiving = asyncio.create_task(receive())
    began = time.perf_counter()
    for n in range(LIVE_PER_S * LIVE_S):
        due.append(began + n / LIVE_PER_S)
        await asyncio.sleep(max(0.0, due[-1] - time.perf_counter()))
        await producer.send_nowait(BackendChange(f"city/{n}", "city", str(n), json.dumps({"ext_id": str(n)})))
    await receiving
    return latencies


@asynccontextmanager
async def _running(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


if __name__ == "__main__":
    typer.run(main)
