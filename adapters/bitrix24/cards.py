"""Lead cards: a command becomes a lead of the portal, created once.

Bitrix24 has no idempotency keys (docs/contracts/bitrix24.md#idempotency), so our leads carry ORIGINATOR_ID and
ORIGIN_ID, and are searched by them before a create that may be a repeat.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from adapters.bitrix24.items import lead_api
from adapters.bitrix24.leads import Phone, check_own
from adapters.bitrix24.markup import COLUMN, NAME, PHONE, TITLE, as_card_comment, as_line
from adapters.bitrix24.origins import origin_of
from adapters.bitrix24.rest.answers import Bitrix24Refused
from adapters.bitrix24.rest.client import Bitrix24Client
from adapters.bitrix24.stages import Stages
from schemas.bitrix24 import CardAction, CardCommand, OwnId

_NUMBER: Final = re.compile(r"\D*(?:\d[^\w;,#]*){5,}")
"""A phone up to its extension, which a letter or one of ``;,#`` begins."""
SOURCE: Final = "OTHER"
"""SOURCE_ID of our leads, which every portal has; the real source is in SOURCE_DESCRIPTION."""


class Delivered(NamedTuple):
    """The result of a command."""

    lead_id: int
    created: bool
    """False if an existing lead was changed."""


class Bitrix24Cards:
    """Carries out card commands by the API that the settings name. Calls of one ``ext_id`` must not overlap."""

    def __init__(self, portal: Bitrix24Client, originator: str, *, moved: bool = False) -> None:
        """``moved``: we left another portal, so an id that only a command names belongs there and is ignored."""
        self._moved = moved
        self._leads, self._stages, self._originator = lead_api(portal), Stages(portal), originator

    async def deliver(self, command: CardCommand, attempt: int, uncertain: bool) -> Delivered:
        """Create or change the command's lead. ``attempt`` counts from 1; ``uncertain``: it may have been done before.

        Raises DeliveryError: Bitrix24Refused for a lead that a person deleted in the portal, which is never created
        again, and for one that the command names and that belongs to another.
        """
        lead_id = command.bitrix_lead_id
        if self._moved and not isinstance(lead_id, OwnId):
            lead_id = None
        if lead_id is None and (command.action != CardAction.CREATE_CARD or attempt > 1 or uncertain):
            found = await self._leads.find(self._originator, origin_of(command.aggregate, command.ext_id))
            lead_id = None if found is None else OwnId(found)
        fields = await self._fields(command)
        if lead_id is None:
            return Delivered(await self._create(command, fields), True)
        try:
            await self._update(lead_id, command, fields)
        except Bitrix24Refused as error:
            raise _explained(error, lead_id) from None
        return Delivered(lead_id, False)

    async def _fields(self, command: CardCommand) -> dict[str, Any]:
        """Return the card's own fields, without a stage in a simple CRM, which has converted the lead
        (docs/contracts/bitrix24.md#stages)."""
        fields = scalars(command)
        if command.stage is not None:
            if await self._stages.simple():
                del fields["STATUS_ID"]
            else:
                await self._stages.check(command.stage)
        return fields

    async def _create(self, command: CardCommand, fields: dict[str, Any]) -> int:
        fields |= {"ORIGINATOR_ID": self._originator, "ORIGIN_ID": origin_of(command.aggregate, command.ext_id)}
        fields |= {"SOURCE_ID": SOURCE, "SOURCE_DESCRIPTION": as_line(command.source or "", COLUMN)}
        if command.name is not None:
            fields["NAME"] = as_line(command.name, NAME)
        if command.phone is not None:
            fields["PHONE"] = [{"VALUE": as_line(command.phone, PHONE), "VALUE_TYPE": "WORK"}]
        return await self._leads.add(fields)

    async def _update(self, lead_id: int, command: CardCommand, fields: dict[str, Any]) -> None:
        # a move changes the card, not the person (docs/contracts/core-users.md#actions)
        if command.action != CardAction.MOVE_CARD:
            if command.name is not None or "name" in command.unset:
                fields["NAME"] = as_line(command.name or "", NAME)
            if command.phone is not None or "phone" in command.unset:
                fields |= await self._phone(lead_id, command)
        if fields:
            if not isinstance(lead_id, OwnId):
                await check_own(self._leads, lead_id, self._originator, origin_of(command.aggregate, command.ext_id))
            await self._leads.update(lead_id, fields)

    async def _phone(self, lead_id: int, command: CardCommand) -> dict[str, Any]:
        """Return the change that sets a phone, or removes ours: by ID, as one without ID is added
        (docs/contracts/bitrix24.md#phones)."""
        phones = (await self._leads.get(lead_id)).phones
        ours = [one for one in phones if command.old_phone and digits(one.value) == digits(command.old_phone)]
        if command.phone is None:
            return _removed(ours or phones, command.old_phone)
        same = [one for one in phones if digits(one.value) == digits(command.phone)]
        if any(_stands(one.value, command.phone, command.old_phone or "") for one in same):
            return {}
        rest = [*same, *ours, *(one for one in phones if one.kind == "WORK"), *phones]
        change = {"VALUE": as_line(command.phone, PHONE), "VALUE_TYPE": "WORK"}
        return {"PHONE": [change | ({"ID": str(rest[0].id)} if rest else {})]}


def _stands(theirs: str, ours: str, old: str) -> bool:
    """Return whether a number can stay as it is: a person may have added an extension, or changed it."""
    has = extension(theirs)
    return extension(ours) in ("", has) or bool(has and has != extension(old))


def _removed(phones: Sequence[Phone], old_phone: str | None) -> dict[str, Any]:
    """Return the removal of our phones, or of the only one where the command names none; several are never guessed."""
    if old_phone is None and len(phones) > 1:
        refused = Bitrix24Refused(f"the lead has {len(phones)} phones, and the command names none to remove")
        refused.hint = "Remove it in the portal and `drop` the command, or name it: --set old_phone=…"
        raise refused
    gone = [one for one in phones if old_phone is None or digits(one.value) == digits(old_phone)]
    removed = [{"ID": str(one.id), "VALUE": "", "VALUE_TYPE": one.kind or "WORK", "DELETE": "Y"} for one in gone]
    return {"PHONE": removed} if removed else {}


def scalars(command: CardCommand) -> dict[str, Any]:
    """Return the card's own fields that the command names; others stay as they are."""
    amount = Decimal(0) if "opportunity" in command.unset else command.opportunity
    comment = "" if "comment" in command.unset else command.comment
    named = {
        "TITLE": None if command.title is None else as_line(command.title, TITLE),
        "STATUS_ID": command.stage,
        "COMMENTS": None if comment is None else as_card_comment(comment),
        "OPPORTUNITY": None if amount is None else f"{amount:.2f}",
    }
    return {name: value for name, value in named.items() if value is not None}


def digits(phone: str) -> str:
    """Return the digits by which two spellings of a phone are compared, by the portal's rule (``NormalizePhone``): the
    number without its extension, with 7 for Russia's 8 (docs/contracts/bitrix24.md#phones)."""
    number = _NUMBER.match(phone)
    found = "".join(c for c in (number[0] if number else phone) if c.isdecimal())
    if len(found) < 10 or phone.lstrip().startswith("+8") or found.startswith(("80", "81", "82")):
        return found
    for prefix in ("00", "011", "0"):
        if found.startswith(prefix):
            return found.removeprefix(prefix)
    return "7" + found[1:] if found[0] == "8" else found


def extension(phone: str) -> str:
    """Return the text behind the number: ``;12``, ``,,7``, ``#404``, "доб. 12"."""
    number = _NUMBER.match(phone)
    return phone[number.end() :].strip() if number else ""


def _explained(error: Bitrix24Refused, lead_id: int) -> Bitrix24Refused:
    if not error.not_found:
        return error
    explained = Bitrix24Refused(f"{error.message}: lead {lead_id} was deleted in the portal", not_found=True)
    explained.hint = "It is never created again: `drop` the command, or name another lead: --set bitrix_lead_id=…"
    return explained
