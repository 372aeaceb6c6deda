"""``kounter audit``: our states compared with an outside system."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from adapters.bitrix24.audit import Drift, portal_leads
from adapters.bitrix24.connector import BITRIX24, has_moved, same_portal
from adapters.bitrix24.items import lead_api
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.bitrix24.stages import Stages
from kounter import logs
from kounter.adopt import in_ledger
from kounter.audit import Audited, CardOf, cards_of, differences, heal, states
from kounter.connect import connected_settings
from kounter.connectors import connected
from kounter.history.reader import Reader, open_reader
from kounter.process.identity import ready_to_write
from kounter.settings import Settings
from kounter.terminal import grid, put, screen, shown, to_json
from schemas.bitrix24 import CardCommand
from schemas.record import partition_key
from streams.delivery import ledger
from streams.domains import DOMAINS
from streams.kafka.partitioner import partition_of
from streams.kafka.producer import RecordProducer
from streams.kafka.topics import group_of
from tables.layout import State, mask

LOOK_AGAIN_S: Final = 5.0
"""Seconds between two comparisons. A command in flight looks like drift, so a difference must be seen twice."""
_PERSONAL: Final = (Drift.PHONE, Drift.NAME, Drift.COMMENT)
if TYPE_CHECKING:
    System = str
else:
    System = Literal[BITRIX24.name]  # the choices of the argument
States = dict[str, dict[str, State]]


def audit(
    system: Annotated[System, typer.Argument(help="The outside system.")] = BITRIX24.name,
    healed: Annotated[bool, typer.Option("--heal", help="Send the cards that are missing or differ.")] = False,
    json: Annotated[bool, typer.Option("--json", help="For programs: one object a difference.")] = False,
    personal: Annotated[bool, typer.Option(help="Show phones, names and comments.")] = False,
) -> None:
    """Compare leads, users and sign-ups with the portal's leads, and print the differences.

    A person's change that `kounter source bitrix24` has reported is no difference. Deleted, doubled and unknown leads
    are for a person to look at. Exits with 1 if anything differs and is not sent.
    """
    settings = connected_settings()
    logs.set_up("WARNING")
    found, sent = asyncio.run(_audit(settings, healed))
    _show(found, json=json, personal=personal)
    if healed and not json:
        print(f"{len(sent)} cards sent: they are commands of bitrix.commands now")
    if found and not healed:
        screen(stderr=True).print(f"{len(found)} differences, nothing is sent: --heal sends the cards")
        raise typer.Exit(1)


async def _audit(settings: Settings, healed: bool) -> tuple[list[Audited], list[CardCommand]]:
    context = connected(BITRIX24, settings)
    originator, cards = context.part(Bitrix24Settings).originator, cards_of(settings.domofon)
    async with open_reader() as reader, same_portal(context) as client:
        await client.begin()

        made = await _made(settings) if await has_moved(context) else None

        async def look() -> tuple[list[Audited], States]:
            ours = await states(reader, DOMAINS.values(), cards)
            if made is not None:
                ours = {
                    topic: {id: _unlearned(topic, state, made) for id, state in known.items()}
                    for topic, known in ours.items()
                }
            leads = [lead async for lead in portal_leads(lead_api(client), originator)]
            return differences(ours, leads, cards, simple=await Stages(client).simple()), ours

        found, ours = await look()
        if found:
            await asyncio.sleep(LOOK_AGAIN_S)
            again, ours = await look()
            found = [one for one in again if one in found]
        return found, await _send(settings, reader, ours, found, cards) if healed and found else []


async def _made(settings: Settings) -> set[bytes]:
    """Returns the ledger keys of all things that the deliveries have created since the portal was replaced by another
    one."""
    return {record.key or b"" for record in await in_ledger(settings.kafka, group_of(BITRIX24.name))}


def _unlearned(topic: str, state: State, made: set[bytes]) -> State:
    """Returns the state without the id of a lead in the earlier portal: in this one the lead is missing, and was not
    deleted by a person."""
    known = ledger.PREFIX + f"{topic}:{state.ext_id}".encode() in made
    return state if known or state.bitrix_lead_id is None else state._replace(bitrix_lead_id=None)


async def _send(
    settings: Settings, reader: Reader, ours: States, found: list[Audited], cards: Mapping[str, CardOf]
) -> list[CardCommand]:
    """Send each command to the partition of the lane that would have written it: the delivery of that partition knows
    the lead."""
    commands = heal(ours, found, cards)
    await ready_to_write(settings, reader.serde, ["bitrix.commands"])
    async with RecordProducer(settings.kafka, reader.serde, "kounter/audit") as producer:
        for command in commands:
            home = partition_key(command.aggregate, command.ext_id.encode())
            at = partition_of(home, settings.kafka.partitions)
            await (await producer.send_nowait(command, topic="bitrix.commands", partition=at))
    return commands


def _show(found: list[Audited], *, json: bool, personal: bool) -> None:
    rows = []
    for aggregate, difference in found:
        ours, portals = difference.ours, difference.portals
        if difference.field in _PERSONAL and not personal:
            ours, portals = mask(ours), mask(portals)
        rows.append((aggregate, difference.ext_id, str(difference.field), ours, portals))
    names = ("aggregate", "ext_id", "differs", "ours", "portal")
    if json:
        for row in rows:
            print(to_json(dict(zip(names, row, strict=True))))
        return
    table = grid(*names)
    for row in rows:
        table.add_row(*(shown(cell) for cell in row))
    if rows:
        put(table, "ext_id", "differs")
    kinds = Counter(row[2] for row in rows)
    print(", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing differs")
