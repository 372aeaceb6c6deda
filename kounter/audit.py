"""Our states compared with a portal's leads: the differences, and the commands that correct them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from loguru import logger

from adapters.bitrix24.audit import Difference, Drift, OurLead, compare
from adapters.bitrix24.cards import digits
from adapters.bitrix24.leads import BadLead, PortalLead
from adapters.bitrix24.markup import plain
from adapters.bitrix24.origins import origin_of
from kounter.history.reader import Reader
from schemas.bitrix24 import CARD_FIELDS, CLEARABLE, CardAction, CardCommand, CardOutcome
from schemas.errors import shorten
from schemas.parking import brief, done_instead
from streams.aggregate import Cause, Domain
from streams.domains import core_users, crm
from streams.domains.domofon import SIGN_UPS, Reactions
from streams.domains.estate import card
from streams.rules import DomofonRules
from tables.layout import State, come

CardOf = Callable[[State, CardAction, Cause], CardCommand]
MENDED: Final = {Drift(name): name for name in CARD_FIELDS}
"""Fields of the command by which `heal` corrects an existing lead; a missing one is sent whole. The other differences
are for a person to look at: a lead that a person deleted is not created again."""
SHOWN: Final = {
    "estate.lead": ("comment", "opportunity"),
    "crm.user": ("name", "phone"),
    core_users.USERS: ("name", "phone"),
    SIGN_UPS: ("phone", "comment"),
}
"""Fields that each aggregate's card shows beside its title and stage. No value is a value, too: the field was cleared.
"""
_WATCHED: Final = {
    Drift.STAGE: "portal_stage",
    Drift.TITLE: "portal_title",
    Drift.NAME: "portal_name",
    Drift.PHONE: "portal_phone",
    Drift.COMMENT: "portal_comments",
    Drift.OPPORTUNITY: "portal_opportunity",
}
"""Fields of the state with the values that `kounter source bitrix24` has reported."""
BY_COMMENTS: Final = "abonent:"
"""Prefix of leads that comments have created: no card says what they must contain."""
_NOW: Final = Cause("audit", 0, 0, 0)


class Audited(NamedTuple):
    """A difference, and the aggregate that has it."""

    aggregate: str
    difference: Difference


def cards_of(rules: DomofonRules) -> Mapping[str, CardOf]:
    """Returns the functions that make each aggregate's card, by topic."""
    return {
        "estate.lead": card,
        "crm.user": crm.card,
        core_users.USERS: core_users.card,
        SIGN_UPS: Reactions(rules).card,
    }


async def states(reader: Reader, domains: Iterable[Domain], topics: Iterable[str]) -> dict[str, dict[str, State]]:
    """Returns all states of these aggregates, by topic and ext_id, from the changelogs."""
    found: dict[str, dict[str, State]] = {topic: {} for topic in topics}
    for domain in domains:
        layouts = {a.topic: a.layout for a in domain.aggregates if a.topic in found}
        if not layouts:
            continue
        async for record in reader.topics.read(domain.changelog):
            topic, _, ext_id = (record.key or b"").decode("utf-8", "replace").partition("\0")
            if topic not in layouts:
                continue
            if record.value is None:
                found[topic].pop(ext_id, None)
                continue
            try:
                found[topic][ext_id] = layouts[topic].load(record.value)
            except Exception as error:  # bytes of a stranger may fail in any way
                place = f"{record.topic} {record.partition}:{record.offset}"
                logger.error("{}: no state, it is not compared: {!r}", place, shorten(error))
    return found


def differences(
    ours: Mapping[str, Mapping[str, State]],
    portals: Iterable[PortalLead | BadLead],
    cards: Mapping[str, CardOf],
    *,
    simple: bool,
) -> list[Audited]:
    """Returns all differences except changes that are known to be made by a person."""
    place: dict[str, tuple[str, State]] = {}
    leads = []
    for topic, states in ours.items():
        for state in filter(come, states.values()):
            wanted = _card(cards[topic], state, CardAction.UPDATE_CARD)
            origin = origin_of(topic, state.ext_id)
            place[origin] = topic, state
            leads.append(_our_lead(origin, state, wanted, SHOWN.get(topic, ())))
    found = []
    for difference in compare(leads, portals, simple=simple):
        known = place.get(difference.ext_id)
        if known is None:
            if not difference.ext_id.startswith(BY_COMMENTS):
                found.append(Audited("", difference))
        elif not _by_a_person(known[1], difference):
            found.append(Audited(known[0], difference._replace(ext_id=known[1].ext_id)))
    return found


def heal(
    ours: Mapping[str, Mapping[str, State]], found: Iterable[Audited], cards: Mapping[str, CardOf]
) -> list[CardCommand]:
    """Returns one command for each lead that a command can correct, with the fields that differ: the others may be a
    person's."""
    differing: dict[tuple[str, str], set[Drift]] = {}
    phones: dict[tuple[str, str], str] = {}
    for aggregate, difference in found:
        if difference.field is Drift.PHONE:
            phones[aggregate, difference.ext_id] = difference.portals.split(", ")[0]
        if difference.field in (Drift.MISSING, *MENDED):
            differing.setdefault((aggregate, difference.ext_id), set()).add(difference.field)
    commands = []
    for (aggregate, ext_id), fields in differing.items():
        action = CardAction.CREATE_CARD if Drift.MISSING in fields else CardAction.UPDATE_CARD
        command = _card(cards[aggregate], ours[aggregate][ext_id], action)._replace(command_id=str(uuid.uuid4()))
        if action == CardAction.UPDATE_CARD:
            named = {MENDED[field] for field in fields}
            others: dict[str, Any] = {name: None for name in CARD_FIELDS if name not in named}
            empty = tuple(name for name in CLEARABLE if name in named and getattr(command, name) is None)
            old_phone = phones.get((aggregate, ext_id)) if "phone" in empty else None
            command = command._replace(**others, unset=empty, old_phone=old_phone)
        commands.append(command)
    return commands


def _card(card_of: CardOf, state: State, action: CardAction) -> CardCommand:
    """Returns the card of a state. Fields that a person has edited (`kounter parked retry --set`) stay as edited: the
    portal has refused the original values."""
    card = card_of(state, action, _NOW)
    instead = done_instead(state.bitrix_edits, state.bitrix_edits_private)
    if state.bitrix_outcome != CardOutcome.SUCCESS:
        return card
    edits = {n: done for n, (asked, done) in instead.items() if n in CARD_FIELDS and brief(getattr(card, n)) == asked}
    if (amount := edits.get("opportunity")) is not None:
        edits["opportunity"] = Decimal(amount)
    return card._replace(**edits)


def _our_lead(origin: str, state: State, wanted: CardCommand, shown: Iterable[str]) -> OurLead:
    fields: dict[str, Any] = {name: getattr(wanted, name) for name in shown}
    empty = {name: Decimal(0) if name == "opportunity" else "" for name, value in fields.items() if value is None}
    return OurLead(origin, origin, state.bitrix_lead_id, wanted.stage, wanted.title, **fields | empty)


def _by_a_person(state: State, difference: Difference) -> bool:
    """Returns whether the watch has reported the portal's value: that is no drift."""
    field = _WATCHED.get(difference.field)
    if field is None or (state.portal_modified_at is None and getattr(state, field) is None):
        return False
    known, portals = getattr(state, field), difference.portals
    if difference.field is Drift.PHONE:
        return digits(known or "") in [digits(phone) for phone in portals.split(", ")]
    if difference.field is Drift.OPPORTUNITY:
        return known is not None and known == Decimal(portals)
    return (known or "") in (portals, plain(portals))
