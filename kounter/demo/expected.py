"""The expected result of a feed: folded in plain Python, without Kafka, from the twin's own sequence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from adapters.brusnika.twin.changes import Change
from schemas.bitrix24 import CardCommand
from schemas.record import contract
from streams.aggregate import Aggregate, Cause, Domain
from tables.layout import State

NOT_COMPARED: Final = ("version", "changed_at", "rest")
"""Fields that differ with the deliveries' receipts and the clock."""
RECEIPT: Final = ("bitrix_", "portal_")
"""Prefixes of the fields that receipts and the portal fill."""


class Reference(NamedTuple):
    """States by topic and ext_id, and the cards that a CRM must hold, by ext_id of the lead."""

    states: dict[tuple[str, str], State]
    cards: dict[str, list[CardCommand]]
    records: int
    """Frames of the feed that are not broken."""


class Findings(NamedTuple):
    """The differences from the expected result."""

    lost: list[str]
    doubled: list[str]


def fold_reference(domain: Domain, changes: Iterable[Change]) -> Reference:
    """Returns the reference: the feed's changes folded in their order."""
    states: dict[tuple[str, str], State] = {}
    cards: dict[str, list[CardCommand]] = {}
    records = 0
    for change in changes:
        if change.row is None:
            continue
        records += 1
        of = contract(type(change.row))
        aggregate: Aggregate = domain.by_topic[of.topics[0]]
        place = (aggregate.topic, change.row[of.fields.index(of.key)])
        before = states.get(place)
        after = aggregate.evolve(before, change.row, 0)
        if after is before or after is None:
            continue
        states[place] = after
        if aggregate.react is not None:
            for out in aggregate.react(before, after, change.row, Cause(aggregate.topic, 0, records, 0)):
                cards.setdefault(out.row.ext_id, []).append(out.row)
    return Reference(states, cards, records)


def compare_states(reference: Reference, found: dict[tuple[str, str], State]) -> Findings:
    """Returns differences of the tables from the reference; a lead must also have its card's id."""
    lost = []
    for place, wanted in reference.states.items():
        state = found.get(place)
        if state is None:
            lost.append(f"{place[0]} {place[1]}: no state")
        elif wrong := _differences(wanted, state):
            lost.append(f"{place[0]} {place[1]}: {', '.join(wrong)}")
        elif place[0] == "estate.lead" and wanted.version and state.bitrix_lead_id is None:
            lost.append(f"{place[0]} {place[1]}: no bitrix_lead_id")
    doubled = [
        f"{topic} {key}: a state that nothing asked for" for topic, key in found.keys() - reference.states.keys()
    ]
    return Findings(lost, doubled)


def compare_cards(reference: Reference, leads: Iterable[dict[str, Any]]) -> Findings:
    """Returns differences of the CRM's leads (`crm.lead.list` form) from the cards that reactions asked for."""
    by_origin: dict[str, list[dict[str, Any]]] = {}
    for lead in leads:
        by_origin.setdefault(str(lead.get("ORIGIN_ID")), []).append(lead)
    lost, doubled = [], []
    for ext_id, commands in reference.cards.items():
        cards = by_origin.pop(f"estate.lead:{ext_id}", [])
        if not cards:
            lost.append(f"card of lead {ext_id}: none")
        elif (stage := cards[-1].get("STATUS_ID")) != commands[-1].stage:
            lost.append(f"card of lead {ext_id}: stage {stage}, it must be {commands[-1].stage}")
        if len(cards) > 1:
            doubled.append(f"card of lead {ext_id}: {len(cards)} of them")
    doubled += [f"card {origin}: nothing asked for it" for origin in by_origin]
    return Findings(lost, doubled)


def compare_commands(reference: Reference, commands: Iterable[CardCommand]) -> Findings:
    """Returns differences of the outbox, which must hold each reaction once, in the order of its lead."""
    found: dict[str, list[CardCommand]] = {}
    ids: Counter[str] = Counter()
    for command in commands:
        found.setdefault(command.ext_id, []).append(command)
        ids[command.command_id] += 1
    lost = []
    for ext_id, wanted in reference.cards.items():
        if _shown(wanted) != _shown(found.get(ext_id, [])):
            lost.append(f"commands of lead {ext_id}: {len(found.get(ext_id, []))} of {len(wanted)}, or another order")
    return Findings(lost, [f"command {id}: {count} times" for id, count in ids.items() if count > 1])


def _shown(commands: Iterable[CardCommand]) -> list[tuple[Any, ...]]:
    """Returns each command's action and the card after it: once a card is known, a command has only changed fields."""
    stage = comment = None
    shown: list[tuple[Any, ...]] = []
    for command in commands:
        stage = stage if command.stage is None else command.stage
        comment = comment if command.comment is None else command.comment
        shown.append((command.action, stage, comment))
    return shown


def _differences(wanted: State, found: State) -> list[str]:
    values, others = wanted._asdict(), found._asdict()
    return [
        f"{name} is {others[name]!r}, it must be {value!r}"
        for name, value in values.items()
        if name not in NOT_COMPARED and not name.startswith(RECEIPT) and others[name] != value
    ]
