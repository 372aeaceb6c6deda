"""Our states beside a portal's leads: what differs, and the commands that mend it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from loguru import logger

from adapters.bitrix24.audit import Difference, Drift, OurLead, compare
from adapters.bitrix24.cards import digits, origin_of
from adapters.bitrix24.leads import BadLead, PortalLead
from kounter.reader import Reader
from schemas.bitrix24 import CARD_FIELDS, CardAction, CardCommand
from schemas.errors import shorten
from streams import core, crm, estate
from streams.domain import Cause, Domain
from streams.domofon import SIGN_UPS, DomofonRules, Reactions
from tables.layout import State

CardOf = Callable[[State, CardAction, Cause], CardCommand]
MENDED: Final = {Drift.STAGE: "stage", Drift.TITLE: "title", Drift.PHONE: "phone"}
"""Fields of the command by which `heal` mends a lead that is there; one that is missing is sent whole. The others are
for a person to look at: a lead that a person deleted is not brought back."""
BY_COMMENTS: Final = "abonent:"
"""Leads that comments have made: no card says how they must be."""
_NOW: Final = Cause("audit", 0, 0, 0)


class Audited(NamedTuple):
    """A difference, and whose it is."""

    aggregate: str
    difference: Difference


def cards_of(rules: DomofonRules) -> Mapping[str, CardOf]:
    """How each aggregate's card must be, by topic."""
    return {
        "estate.lead": estate.card,
        "crm.user": crm.card,
        core.USERS: core.card,
        SIGN_UPS: Reactions(rules).card,
    }


async def states(reader: Reader, domains: Iterable[Domain], topics: Iterable[str]) -> dict[str, dict[str, State]]:
    """All states of these aggregates, by topic and ext_id, as the changelogs have them."""
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
    """What differs, but for what we know that a person has changed."""
    place: dict[str, tuple[str, State]] = {}
    leads = []
    for topic, states in ours.items():
        for state in states.values():
            wanted = cards[topic](state, CardAction.UPDATE_CARD, _NOW)
            origin = origin_of(topic, state.ext_id)
            place[origin] = topic, state
            lead = OurLead(origin, origin, state.bitrix_lead_id, wanted.stage, wanted.title, wanted.phone)
            leads.append(lead)
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
    """One command for each lead that a command can mend, of what differs alone: the rest may be a person's."""
    differing: dict[tuple[str, str], set[Drift]] = {}
    for aggregate, difference in found:
        if difference.field in (Drift.MISSING, *MENDED):
            differing.setdefault((aggregate, difference.ext_id), set()).add(difference.field)
    commands = []
    for (aggregate, ext_id), fields in differing.items():
        action = CardAction.CREATE_CARD if Drift.MISSING in fields else CardAction.UPDATE_CARD
        command = cards[aggregate](ours[aggregate][ext_id], action, _NOW)._replace(command_id=str(uuid.uuid4()))
        if action == CardAction.UPDATE_CARD:
            named = {MENDED[field] for field in fields}
            others: dict[str, Any] = {name: None for name in CARD_FIELDS if name not in named}
            command = command._replace(**others)
        commands.append(command)
    return commands


def _by_a_person(state: State, difference: Difference) -> bool:
    """Whether the portal's value is one that the watch has told us of: that is no drift."""
    if difference.field is Drift.STAGE:
        return bool(state.portal_stage == difference.portals)
    if difference.field is Drift.TITLE:
        return bool(state.portal_title == difference.portals)
    if difference.field is Drift.PHONE:
        known = state.portal_phone
        return known is not None and digits(known) in [digits(phone) for phone in difference.portals.split(", ")]
    return False
