"""``kounter twins``: stand-ins for the outside systems, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from adapters.connector import Connector, Context, Twin
from kounter import logs
from kounter.connectors import CONNECTORS, TWIN, context_of
from kounter.embedded.ports import HOST, choose
from kounter.embedded.runfile import RunFile
from kounter.process.runner import on_stop
from kounter.settings import Settings, load
from schemas.errors import BrokenSetup

ALL: Final = "all"
TWINS: Final = [(connector, connector.twin) for connector in CONNECTORS if connector.twin is not None]
if TYPE_CHECKING:
    System = str
else:
    System = Literal[(*(connector.name for connector, _ in TWINS), ALL)]  # the choices of the argument


def twins(
    system: Annotated[System, typer.Argument(help="The twin to serve.")] = ALL,
    port: Annotated[int | None, typer.Option(help="Port of the named twin.", min=0, max=65_535)] = None,
    host: Annotated[str, typer.Option(help="Where to listen; a container's twin must be reached from others.")] = HOST,
    **options: Any,
) -> None:
    """Serve stand-ins that answer as the outside systems do, limits and oddities included, until Ctrl-C.

    `kounter deliver` and `kounter source` use them where no real system is set.
    """
    settings = load()
    logs.set_up(settings.log_level)
    if port is not None and system == ALL:
        raise BrokenSetup("--port with several twins", hint="Name one: `kounter twins bitrix24 --port 8080`.")
    asyncio.run(_serve([pair for pair in TWINS if system in (pair[0].name, ALL)], settings, host, port, options))


def _options() -> Iterator[inspect.Parameter]:
    """The options of all twins, as parameters of the command."""
    for option in (option for _, twin in TWINS for option in twin.options):
        kind: Any = option.kind
        marked: Any = Annotated[kind, typer.Option(help=option.help, min=option.least)]
        yield inspect.Parameter(option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=marked)


def _with_options() -> None:
    """Typer makes the command line from a function's signature and annotations."""
    signature = inspect.signature(twins, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    every = [*own, *_options()]
    twins.__annotations__ = {one.name: one.annotation for one in every}
    twins.__signature__ = signature.replace(parameters=every)  # type: ignore[attr-defined]


_with_options()


async def _serve(
    served: list[tuple[Connector, Twin]], settings: Settings, host: str, port: int | None, options: dict[str, Any]
) -> None:
    run_file, context = RunFile(settings.data_dir), _context(settings)
    async with contextlib.AsyncExitStack() as stack:
        for connector, twin in served:
            title = f"{connector.title} twin"
            own = {option.name: options[option.name] for option in twin.options}
            listen = choose(port, twin.port, title)
            opened = await stack.enter_async_context(twin.serve(context, host, listen, **own))
            run_file.add(TWIN + connector.name, opened.address)
            print(f"{title}: {opened.shown}", flush=True)
        stop = asyncio.Event()
        on_stop(stop.set)
        await stop.wait()


def _context(settings: Settings) -> Context:
    """A twin is also served while no Kafka runs."""
    context, running = context_of(settings), RunFile(settings.data_dir).get("kafka")
    servers = context.kafka.bootstrap_servers or (running.address if running else "")
    return replace(context, kafka=context.kafka.model_copy(update={"bootstrap_servers": servers}))
