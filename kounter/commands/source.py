"""``kounter source``: changes in the outside systems to our topics."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from adapters.bitrix24.connector import BITRIX24
from adapters.connector import Context, Inbound, OpenSource
from adapters.nest.connector import NEST
from kounter.connectors import CONNECTORS, all_topics, connected, find
from kounter.embedded.runfile import RunFile
from kounter.process.http import serve_http
from kounter.process.identity import guarded
from kounter.process.runner import open_serde, run, work
from kounter.process.sockets import bind
from kounter.settings import Settings
from schemas.codec.serde import Serde

GRACE_S: Final = 1
if TYPE_CHECKING:
    System = str
    Watched = str
else:  # the choices of the argument
    System = Literal[tuple(c.name for c in CONNECTORS if c.source)]
    Watched = Literal[BITRIX24.name]


def source(
    system: Annotated[System, typer.Argument(help="The outside system.")],
) -> None:
    """Read the changes of an outside system and produce them to topics, from where the last run ended.

    brusnika: the developer's WebSocket feed. bitrix24: the portal's webhook and its modified leads; in the portal, set
    the outgoing webhook's address to this process (KOUNTER_WATCH__LISTEN, path /hooks/bitrix24), and its token here
    (KOUNTER_WATCH__HOOK__APPLICATION_TOKEN). rosdomofon: the operator's own Kafka; a second process stands by.
    feeds: the developer's feed files, each on its schedule (KOUNTER_FEEDS__SOURCES). nest: JSON messages of Nest
    services, and their answers; a second process takes over. brusnika-slots: free times of the developer's CRM
    (KOUNTER_BRUSNIKA__SLOTS__URL).

    Exits with 64 if the configuration is invalid, if the system denies access, or if another process has taken over;
    with 69 if Kafka, the registry or the operator's Kafka can't be reached at the start.
    """
    run_source(system)


def run_source(system: str) -> None:
    """Run the source of a system until an order to stop. Exits as `source` describes."""
    run(partial(_read, system), ends_when_denied=True)


async def _read(system: str, settings: Settings) -> None:
    connector = find(system)
    assert connector.source is not None
    inbound, context = connector.source, connected(connector, settings)
    async with (
        open_serde(settings, all_topics(), inbound.writes()) as serde,
        inbound.open(context, serde) as opened,
    ):
        if opened.app is not None:
            await _serve(inbound, context, opened, settings, serde)
        else:
            await work(settings, serde, inbound.process, [opened.source], *opened.guards())


async def _serve(inbound: Inbound, context: Context, opened: OpenSource, settings: Settings, serde: Serde) -> None:
    """Run a source that gets its data over HTTP."""
    assert inbound.listen is not None
    sockets = [bind(*inbound.listen(context))]
    run_file = RunFile(settings.data_dir)
    async with guarded(settings, serde, *opened.guards()):
        await serve_http(opened.app, sockets, run_file, inbound.process, opened.source.run(), grace_s=GRACE_S)


def watch(
    system: Annotated[Watched, typer.Argument()] = BITRIX24.name,
) -> None:
    """Run `kounter source bitrix24`; the name of an earlier version."""
    run_source(system)


def nest() -> None:
    """Run `kounter source nest`; the name of an earlier version."""
    run_source(NEST.name)
