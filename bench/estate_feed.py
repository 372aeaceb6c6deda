"""``python -m bench.estate_feed``: a feed file of 200,000 offers into Kafka: all of it, unchanged, 1 % changed, 304.

Each reading is a process of its own. The file is a YRL of 0.5 GB in 300 buildings, served over HTTP on this machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console
from rich.table import Table
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from adapters.twin_kit.server import serving
from bench.feed_worker import PARENTS, PREMISES
from kounter.embedded.ports import HOST, free_port
from kounter.embedded.stack import EmbeddedStack
from streams.kafka.settings import KafkaSettings

OFFERS: Final = 200_000
BUILDINGS: Final = 300
CHANGED: Final = 100
"""Each so many offers, one has another price."""
LIMITS: Final = {
    "all new": {"seconds": 90.0, "rss_mb": 200.0},
    "unchanged": {"rss_mb": 200.0, "records": 0.0},
    "1 % changed": {"cpu_s": 35.0, "rss_mb": 200.0},
    "304": {"bodies": 0.0, "records": 0.0},
}
console = Console()
Result = dict[str, Any]


def main(
    quick: Annotated[bool, typer.Option(help="A hundredth of the offers; limits are not compared.")] = False,
) -> None:
    """Measure, print a table, and a JSON line last. Exits with 1 if a limit is exceeded."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with EmbeddedStack(folder / "stack", free_port(), free_port(), kafka_heap_mb=1024) as stack:
            offers = OFFERS // 100 if quick else OFFERS
            results = asyncio.run(measure(stack.bootstrap_servers, stack.registry_url, folder, offers))
    table = Table("feed file", "s", "CPU s", "RSS MB", "premise records", "others", "bodies")
    for name, found in results.items():
        columns = ("seconds", "cpu_s", "rss_mb", "premises", "parents", "bodies")
        table.add_row(name, *(f"{found[column]:,}" for column in columns))
    console.print(table)
    exceeded = [] if quick else [*_exceeded(results, offers)]
    for said in exceeded:
        console.print(f"[red]{said}[/]")
    print(json.dumps({"estate_feed": results, "limits": LIMITS, "exceeded": exceeded}))
    if exceeded:
        raise typer.Exit(1)


async def measure(bootstrap: str, registry: str, folder: Path, offers: int) -> dict[str, Result]:
    """Returns the measurements by the file's relation to the one before."""
    path = folder / "feed.xml"
    results = {}
    async with _served(path) as served:
        for name, changed, date in (("all new", 0, 1), ("unchanged", 0, 2), ("1 % changed", 1, 3), ("304", 1, 3)):
            if name != "304":
                write_feed(path, offers, changed=bool(changed), day=date)
                served.version += 1
            before, bodies = await _ends(bootstrap), served.bodies
            found = await _read(bootstrap, registry, served.url)
            after = await _ends(bootstrap)
            premises = after[PREMISES] - before[PREMISES]
            parents = sum(after[topic] - before[topic] for topic in PARENTS)
            more = {"premises": premises, "parents": parents, "records": premises + parents}
            results[name] = {**found, **more, "bodies": served.bodies - bodies}
            results[name]["mb"] = path.stat().st_size >> 20
    return results


def write_feed(path: Path, offers: int, *, changed: bool, day: int) -> None:
    """Write a YRL; ``changed``: 1 % of the offers have another price."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(_feed(offers, changed, day))


def _feed(offers: int, changed: bool, day: int) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<realty-feed xmlns='
    yield f'"http://webmaster.yandex.ru/schemas/feed/realty/2010-06"><generation-date>2026-01-{day:02}T00:00:00+03:00'
    yield "</generation-date>\n"
    for n in range(offers):
        yield _offer(n, 5_000_000 + n + 50_000 * (changed and n % CHANGED == 0))
    yield "</realty-feed>\n"


def _offer(n: int, price: int) -> str:
    house = n % BUILDINGS
    return f"""<offer internal-id="lot-{n:06}"><type>продажа</type><property-type>жилая</property-type>
<category>квартира</category><url>https://feed.example/lot/{n}</url>
<creation-date>2026-01-01T00:00:00+03:00</creation-date><new-flat>1</new-flat>
<deal-status>первичная продажа</deal-status><location><country>Россия</country><region>Свердловская область</region>
<locality-name>Екатеринбург</locality-name><address>улица Строителей, {house}</address>
<apartment>{n // BUILDINGS + 1}</apartment><latitude>56.8{house:03}</latitude><longitude>60.6{house:03}</longitude>
</location><price><value>{price}</value><currency>RUB</currency></price>
<area><value>{30 + n % 70}.{n % 10}</value><unit>кв. м</unit></area>
<living-space><value>20</value><unit>кв. м</unit></living-space>
<kitchen-space><value>10</value><unit>кв. м</unit></kitchen-space><rooms>{n % 4 + 1}</rooms><floor>{n % 25 + 1}</floor>
<floors-total>25</floors-total><building-name>ЖК {house // 3}</building-name>
<yandex-building-id>{1000 + house // 3}</yandex-building-id><yandex-house-id>{2000 + house}</yandex-house-id>
<building-section>{n // BUILDINGS % 4 + 1}</building-section><building-state>unfinished</building-state>
<built-year>2027</built-year><ready-quarter>{n % 4 + 1}</ready-quarter><balcony>2 балкона</balcony>
<sales-agent><organization>Застройщик</organization><phone>+79990000000</phone><category>developer</category></sales-agent>
<image tag="plan">https://feed.example/plans/{n}.png</image><image>https://feed.example/photos/{house}/1.jpg</image>
<image>https://feed.example/photos/{house}/2.jpg</image>
<description>{"Светлая квартира с видом на парк. " * 20}</description></offer>
"""


class _Served:
    """The server of the file: the version is its ETag, bodies are counted."""

    url = ""
    version = 0
    bodies = 0

    def __init__(self, path: Path) -> None:
        self._path = path

    async def answer(self, request: Request) -> Response:
        etag = f'"{self.version}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304)
        self.bodies += 1
        return FileResponse(self._path, headers={"ETag": etag})


@asynccontextmanager
async def _served(path: Path) -> AsyncIterator[_Served]:
    served = _Served(path)
    async with serving(Starlette(routes=[Route("/feed/yandex/", served.answer)]), HOST, 0) as port:
        served.url = f"http://{HOST}:{port}/feed/yandex/"
        yield served


async def _read(bootstrap: str, registry: str, url: str) -> Result:
    command = [sys.executable, "-m", "bench.feed_worker", bootstrap, registry, "bench", url]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"the reading exited with {process.returncode}")
    found: Result = json.loads(out.splitlines()[-1])
    return found


async def _ends(bootstrap: str) -> dict[str, int]:
    """Returns the number of records of each topic; 0 of one that is not there yet."""
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    async with AIOKafkaConsumer(**kafka.client_options()) as consumer:
        there = await consumer.topics()
        tps = [TopicPartition(topic, p) for topic in (*PARENTS, PREMISES) for p in range(kafka.partitions)]
        ends = await consumer.end_offsets([tp for tp in tps if tp.topic in there])
        return {t: sum(end for tp, end in ends.items() if tp.topic == t) for t in (*PARENTS, PREMISES)}


class _Wanted(NamedTuple):
    name: str
    column: str
    value: float


def _exceeded(results: dict[str, Result], offers: int) -> Iterator[str]:
    """Returns each limit that was exceeded, and each number that is not as it must be."""
    for name, limits in LIMITS.items():
        for column, most in limits.items():
            if results[name][column] > most:
                yield f"{name}: {column} is {results[name][column]}, the limit is {most:g}"
        if results[name]["error"]:
            yield f"{name}: {results[name]['error']}"
    for name, column, value in (
        _Wanted("all new", "premises", offers),
        _Wanted("1 % changed", "premises", offers // CHANGED),
        _Wanted("1 % changed", "parents", 0),
    ):
        if results[name][column] != value:
            yield f"{name}: {column} are {results[name][column]}, not {value:g}"


if __name__ == "__main__":
    typer.run(main)
