"""Comments in the timeline of a lead that belongs to somebody: found by origin or phone, else created (contracts §2).

Bitrix24 keeps no repeat from making a second comment (contracts §1), so ours end with the command's id, and are
looked through for it before a comment that may be a repeat.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any, Final, NamedTuple

from adapters.bitrix24.answers import Bitrix24Refused
from adapters.bitrix24.cards import SOURCE, Bitrix24Cards, digits
from adapters.bitrix24.client import Bitrix24Client
from adapters.bitrix24.items import lead_api
from adapters.bitrix24.leads import BadLead, number
from schemas.bitrix24 import CardCommand
from schemas.errors import DeliveryUnavailable
from schemas.portal import CommentCommand

KNOWN_LEADS: Final = 10_000
MOST_PAGES: Final = 20
"""Of comments, newest first, that are looked through for ours: a repeat follows its first try closely."""
MARK: Final = re.compile(r"\n\[([0-9a-f]{8}-[0-9a-f-]{27})\]\s*\Z")
"""Ends what we have written; whatever else stands in a timeline was written by others."""


class Commented(NamedTuple):
    """A comment that is there now."""

    comment_id: int
    lead_id: int


class Bitrix24Comments:
    """Carries out comment commands. Calls of one ``ext_id`` must not overlap."""

    def __init__(self, portal: Bitrix24Client, originator: str) -> None:
        self._portal, self._api, self._originator = portal, lead_api(portal), originator
        self._leads: OrderedDict[str, int] = OrderedDict()

    async def deliver(self, command: CommentCommand, attempt: int, uncertain: bool) -> Commented:
        """Write the comment, once. Raises DeliveryError."""
        lead_id = command.bitrix_lead_id or self._leads.get(command.ext_id) or await self._lead(command)
        try:
            return await self._comment(lead_id, command, attempt > 1 or uncertain)
        except Bitrix24Refused as error:
            if not error.not_found or self._leads.pop(command.ext_id, None) is None:
                raise
        return await self._comment(await self._lead(command), command, True)  # it was deleted since we knew it

    async def _comment(self, lead_id: int, command: CommentCommand, repeat: bool) -> Commented:
        self._leads[command.ext_id] = lead_id
        self._leads.move_to_end(command.ext_id)
        if len(self._leads) > KNOWN_LEADS:
            self._leads.popitem(last=False)
        if command.comment_id is not None:
            return Commented(command.comment_id, lead_id)
        if repeat and (found := await self._written(lead_id, command.command_id)):
            return Commented(found, lead_id)
        fields = {"ENTITY_ID": lead_id, "ENTITY_TYPE": "lead", "COMMENT": f"{command.text}\n[{command.command_id}]"}
        reply = await self._portal.call("crm.timeline.comment.add", {"fields": fields})
        return Commented(number(reply.result), lead_id)

    async def _written(self, lead_id: int, command_id: str) -> int | None:
        """The comment of this command, if it is there."""
        start: int | None = 0
        for _ in range(MOST_PAGES):
            params = {
                "filter": {"ENTITY_ID": lead_id, "ENTITY_TYPE": "lead"},
                "select": ["ID", "COMMENT"],
                "order": {"ID": "DESC"},
                "start": start,
            }
            reply = await self._portal.call("crm.timeline.comment.list", params)
            for row in reply.result if isinstance(reply.result, list) else []:
                if mark(str(row.get("COMMENT", ""))) == command_id:
                    return number(row["ID"])
            if (start := reply.next) is None:
                break
        return None

    async def _lead(self, command: CommentCommand) -> int:
        """By our origin, then by the phone, then a new one. Who has the phone becomes ours if it is nobody's."""
        found = await self._api.find(self._originator, command.ext_id)
        if found is not None:
            return found
        origin = {"ORIGINATOR_ID": self._originator, "ORIGIN_ID": command.ext_id}
        if command.phone and (ids := await self._by_phone(command.phone)):
            page = await self._api.page({"@ID": ids}, {"ID": "ASC"})
            if bad := next((lead for lead in page if isinstance(lead, BadLead)), None):
                raise DeliveryUnavailable(bad.why)  # it may be the one that is free
            free = [lead.id for lead in page if lead.id is not None and not lead.origin]
            if free:
                await self._api.update(free[0], origin)
                return free[0]
        fields: dict[str, Any] = origin | {"TITLE": command.title, "SOURCE_ID": SOURCE}
        fields["SOURCE_DESCRIPTION"] = command.source or ""
        if command.phone:
            fields["PHONE"] = [{"VALUE": command.phone, "VALUE_TYPE": "MOBILE"}]
        return await self._api.add(fields)

    async def _by_phone(self, phone: str) -> list[int]:
        """Leads with this phone; the portal compares digits [inferred], with and without the plus."""
        values = [phone, digits(phone)]
        reply = await self._portal.call(
            "crm.duplicate.findbycomm", {"type": "PHONE", "values": values, "entity_type": "LEAD"}
        )
        found = reply.result.get("LEAD", []) if isinstance(reply.result, dict) else []
        return [number(one) for one in found]


def mark(comment: str) -> str | None:
    """The command's id at the end of a comment that we have written; None of others' comments."""
    found = MARK.search(comment)
    return found[1] if found else None


class Bitrix24Port:
    """The delivery port of a portal: cards and comments."""

    def __init__(self, portal: Bitrix24Client, originator: str) -> None:
        self._cards, self._comments = Bitrix24Cards(portal, originator), Bitrix24Comments(portal, originator)

    async def deliver(self, command: CardCommand | CommentCommand, attempt: int, uncertain: bool) -> Any:
        """See both. Raises DeliveryError."""
        port: Any = self._comments if isinstance(command, CommentCommand) else self._cards
        return await port.deliver(command, attempt, uncertain)
