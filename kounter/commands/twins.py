"""``kounter twins``: stand-ins for the outside systems, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Annotated, Final, Literal

import typer

from adapters.bitrix24.twin.limits import Limits
from adapters.bitrix24.twin.server import Bitrix24Twin
from adapters.brusnika.twin.server import BrusnikaTwin
from adapters.rosdomofon.twin.kafka import TwinOperator
from adapters.rosdomofon.twin.server import RosDomofonTwin
from kounter import logs
from kounter.commands.rosdomofon import TWIN, TWIN_COMPANY
from kounter.embedded.ports import HOST, choose
from kounter.embedded.runfile import RunFile
from kounter.settings import Settings, load
from schemas.errors import BrokenSetup

USUAL_PORTS: Final = {"bitrix24": 7181, "brusnika": 7182, "rosdomofon": 7183}


def twins(
    system: Annotated[Literal["bitrix24", "brusnika", "rosdomofon", "all"], typer.Argument(help="Which one.")] = "all",
    port: Annotated[int | None, typer.Option(help="Of the one that is named.", min=0, max=65_535)] = None,
    host: Annotated[str, typer.Option(help="Where to listen; a container's twin must be reached from others.")] = HOST,
    limits: Annotated[bool, typer.Option(help="Bitrix24: the limits of an ordinary portal.")] = True,
    seed: Annotated[int, typer.Option(help="Brusnika: of the company that is streamed.")] = 1,
    rate: Annotated[float, typer.Option(help="Brusnika: frames a second; 0 is as fast as they are taken.", min=0)] = 20,
    limit: Annotated[int | None, typer.Option(help="Brusnika: frames of the stream; none is without end.")] = None,
) -> None:
    """Serve stand-ins that answer as the outside systems do, limits and oddities included, until Ctrl-C.

    `kounter deliver`, `feed` and `rosdomofon bridge` find them where no real system is set.
    """
    settings = load()
    logs.set_up(settings.log_level)
    if port is not None and system == "all":
        raise BrokenSetup("--port with two twins", hint="Name one: `kounter twins bitrix24 --port 8080`.")

    async def serve() -> None:
        async with contextlib.AsyncExitStack() as stack:
            if system in ("bitrix24", "all"):
                await _serve_bitrix24(stack, settings, host, port, limits)
            if system in ("brusnika", "all"):
                await _serve_brusnika(stack, settings, host, port, seed, rate, limit)
            if system in ("rosdomofon", "all"):
                await _serve_rosdomofon(stack, settings, host, port)
            stop = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            await stop.wait()

    asyncio.run(serve())


async def _serve_bitrix24(
    stack: contextlib.AsyncExitStack, settings: Settings, host: str, port: int | None, limits: bool
) -> None:
    """Its leads are kept in the data folder."""
    folder = settings.data_dir / "twins"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = choose(port, USUAL_PORTS["bitrix24"], "Bitrix24 twin")
    twin = Bitrix24Twin(host=host, port=chosen, db_path=folder / "bitrix24.sqlite", limits=Limits(enabled=limits))
    await stack.enter_async_context(twin)
    RunFile(settings.data_dir).add("twin-bitrix24", twin.webhook_url)
    print(f"Bitrix24 twin: {twin.url} (its leads), {twin.webhook_url} (its webhook)", flush=True)


async def _serve_brusnika(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    host: str,
    port: int | None,
    seed: int,
    rate: float,
    limit: int | None,
) -> None:
    chosen = choose(port, USUAL_PORTS["brusnika"], "Brusnika twin")
    header = settings.brusnika
    twin = BrusnikaTwin(
        host=host,
        port=chosen,
        seed=seed,
        rate=rate,
        limit=limit,
        header_name=header.header_name,
        header_value=header.header_value.get_secret_value(),
    )
    await stack.enter_async_context(twin)
    RunFile(settings.data_dir).add("twin-brusnika", twin.url)
    print(f"Brusnika twin: {twin.url}", flush=True)


async def _serve_rosdomofon(stack: contextlib.AsyncExitStack, settings: Settings, host: str, port: int | None) -> None:
    """The operator's REST, and where a Kafka runs, its topics there; what it knows is kept in the data folder."""
    folder, run = settings.data_dir / "twins", RunFile(settings.data_dir)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = choose(port, USUAL_PORTS["rosdomofon"], "RosDomofon twin")
    twin = await stack.enter_async_context(RosDomofonTwin(host=host, port=chosen, db_path=folder / "rosdomofon.sqlite"))
    ours = run.get("kafka")
    if servers := settings.kafka.bootstrap_servers or (ours.address if ours else ""):
        kafka = settings.kafka.model_copy(update={"bootstrap_servers": servers})
        twin.app.control.speaking = await stack.enter_async_context(TwinOperator(kafka, twin.operator, [TWIN_COMPANY]))
    run.add(TWIN, twin.url)
    print(f"RosDomofon twin: {twin.url}, {f'company {TWIN_COMPANY}' if servers else 'without Kafka'}", flush=True)
