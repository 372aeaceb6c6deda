"""Lead cards: a command becomes a lead of the portal, created once.

Bitrix24 keeps no repeat from making a second lead (docs/contracts/bitrix24.md#idempotency), so ours carry ORIGINATOR_ID
and ORIGIN_ID, and are searched by them before a create that may be a repeat.
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
"""Of a phone: all before its extension, which a letter or one of ``;,#`` begins."""
SOURCE: Final = "OTHER"
"""SOURCE_ID of our leads: a word that every portal has; the real source is in SOURCE_DESCRIPTION."""


class Delivered(NamedTuple):
    """What became of a command."""

    lead_id: int
    created: bool
    """False: an existing lead was changed."""


class Bitrix24Cards:
    """Carries out card commands by the API that the settings name. Calls of one ``ext_id`` must not overlap."""

    def __init__(self, portal: Bitrix24Client, originator: str, *, moved: bool = False) -> None:
        """``moved``: ids that only a command names were learned in another portal, which we left: none counts."""
        self._moved = moved
        self._leads, self._stages, self._originator = lead_api(portal), Stages(portal), originator

    async def deliver(self, command: CardCommand, attempt: int, uncertain: bool) -> Delivered:
        """Make the lead what the command says. ``attempt`` counts from 1; ``uncertain``: it may have been done before.

        Raises DeliveryError. A lead that a person deleted in the portal is refused, never brought back; so is one that
        the command names and that is not its own here.
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
        """The card's own. In a simple CRM the stage is the portal's, which has converted the lead
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
        """What makes a phone the lead's, or takes ours away: by ID, as one without ID is added
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
    """Whether one number is well written as it is: a person may have put an extension behind it, or another one."""
    has = extension(theirs)
    return extension(ours) in ("", has) or bool(has and has != extension(old))


def _removed(phones: Sequence[Phone], old_phone: str | None) -> dict[str, Any]:
    """Those that are ours. Where nobody says which it was, the only one; of several none is taken from a person."""
    if old_phone is None and len(phones) > 1:
        refused = Bitrix24Refused(f"the lead has {len(phones)} phones, and none is named to be removed")
        refused.hint = "Remove it in the portal and `drop` the command, or name it: --set old_phone=…"
        raise refused
    gone = [one for one in phones if old_phone is None or digits(one.value) == digits(old_phone)]
    removed = [{"ID": str(one.id), "VALUE": "", "VALUE_TYPE": one.kind or "WORK", "DELETE": "Y"} for one in gone]
    return {"PHONE": removed} if removed else {}


def scalars(command: CardCommand) -> dict[str, Any]:
    """The card's own fields that the command names; what it does not name stays as it is."""
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
    """What two spellings of a phone have in common, by the portal's own rule (``NormalizePhone``): the number without
    its extension, where 8 is Russia's way to write 7."""
    number = _NUMBER.match(phone)
    found = "".join(c for c in (number[0] if number else phone) if c.isdecimal())
    if len(found) < 10 or phone.lstrip().startswith("+8") or found.startswith(("80", "81", "82")):
        return found
    for prefix in ("00", "011", "0"):
        if found.startswith(prefix):
            return found.removeprefix(prefix)
    return "7" + found[1:] if found[0] == "8" else found


def extension(phone: str) -> str:
    """What stands behind the number: ``;12``, ``,,7``, ``#404``, "доб. 12"."""
    number = _NUMBER.match(phone)
    return phone[number.end() :].strip() if number else ""


def _explained(error: Bitrix24Refused, lead_id: int) -> Bitrix24Refused:
    if not error.not_found:
        return error
    explained = Bitrix24Refused(f"{error.message}: lead {lead_id} was deleted in the portal", not_found=True)
    explained.hint = "Ours never brings it back: `drop` the command, or name another lead: --set bitrix_lead_id=…"
    return explained
