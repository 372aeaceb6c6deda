"""Comments in the timeline of an abonent's lead, which is found by origin or phone, or created
(docs/contracts/rosdomofon.md#mapping-to-bitrix24).

Bitrix24 has no idempotency keys (docs/contracts/bitrix24.md#comments), so our comments end with the command's id, and
are searched for it before a comment that may be a repeat.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from adapters.bitrix24.cards import SOURCE, digits
from adapters.bitrix24.items import lead_api
from adapters.bitrix24.leads import PAGE, BadLead, check_own, number
from adapters.bitrix24.markup import PHONE, TITLE, as_comment, as_line, plain
from adapters.bitrix24.rest.answers import Bitrix24Refused, Unreadable, id_of, ids, rows
from adapters.bitrix24.rest.client import Bitrix24Client
from schemas.bitrix24 import CommentCommand
from schemas.errors import DeliveryUnavailable

KNOWN_LEADS: Final = 10_000
"""Leads that are remembered by ext_id."""
MOST_PAGES: Final = 20
"""Pages of comments, newest first, that are searched for ours: a repeat follows its first try closely."""
MARK: Final = re.compile(r"(?:\A|\n)\[([0-9a-f]{8}-[0-9a-f-]{27})\]\s*\Z")
"""The end of each of our comments; comments without it were written by others."""


class Commented(NamedTuple):
    """A comment that exists in the portal."""

    comment_id: int
    lead_id: int


class Bitrix24Comments:
    """Carries out comment commands. Calls of one ``ext_id`` must not overlap."""

    def __init__(self, portal: Bitrix24Client, originator: str, *, moved: bool = False) -> None:
        """``moved``: see `Bitrix24Cards`."""
        self._moved = moved
        self._portal, self._api, self._originator = portal, lead_api(portal), originator
        self._leads: OrderedDict[str, int] = OrderedDict()

    async def deliver(self, command: CommentCommand, attempt: int, uncertain: bool) -> Commented:
        """Write the comment once. ``attempt`` counts from 1; ``uncertain``: it may have been written before.

        Raises DeliveryError.
        """
        named = None if self._moved else command.bitrix_lead_id
        lead_id = named or self._leads.get(command.ext_id) or await self._lead(command)
        try:
            return await self._comment(lead_id, command, attempt > 1 or uncertain)
        except Bitrix24Refused as error:
            if not error.not_found or self._leads.pop(command.ext_id, None) is None:
                raise
        return await self._comment(await self._lead(command), command, True)  # the known one was deleted

    async def check(self, command: CommentCommand) -> None:
        """Check the owner of a lead that only the command names, once for each lead and process.

        Raises DeliveryError, as `check_own` does.
        """
        named = None if self._moved or command.comment_id is not None else command.bitrix_lead_id
        if named is None or named == self._leads.get(command.ext_id):
            return
        try:
            await check_own(self._api, named, self._originator, command.ext_id)
        except Bitrix24Refused as error:
            if not error.not_found:  # a deleted lead is replaced by a new one
                raise

    async def _comment(self, lead_id: int, command: CommentCommand, repeat: bool) -> Commented:
        self._leads[command.ext_id] = lead_id
        self._leads.move_to_end(command.ext_id)
        if len(self._leads) > KNOWN_LEADS:
            self._leads.popitem(last=False)
        if command.comment_id is not None:
            return Commented(command.comment_id, lead_id)
        if repeat and (found := await self._written(lead_id, command.command_id)):
            return Commented(found, lead_id)
        ours = f"\n[{command.command_id}]"
        fields = {
            "ENTITY_ID": lead_id,
            "ENTITY_TYPE": "lead",
            "COMMENT": as_comment(command.text, room=len(ours.encode())) + ours,
        }
        reply = await self._portal.call("crm.timeline.comment.add", {"fields": fields})
        return Commented(number(reply.result), lead_id)

    async def _written(self, lead_id: int, command_id: str) -> int | None:
        """Return the id of this command's comment, if it exists."""
        method, start = "crm.timeline.comment.list", 0
        for _ in range(MOST_PAGES):
            params = {
                "filter": {"ENTITY_ID": lead_id, "ENTITY_TYPE": "lead"},
                "select": ["ID", "COMMENT"],
                "order": {"ID": "DESC"},
                "start": start,
            }
            reply = await self._portal.call(method, params)
            listed = rows(method, reply.result)
            for row in listed:
                if "COMMENT" not in row:
                    raise Unreadable(method, "a row without COMMENT")
                if mark(str(row["COMMENT"] or "")) == command_id:
                    return id_of(method, row.get("ID"))
            if reply.next is None and len(listed) < PAGE:
                break
            begun, start = start, reply.next or start + PAGE
            if start <= begun:
                raise Unreadable(method, "its next page does not come after this one")
        return None

    async def _lead(self, command: CommentCommand) -> int:
        """Return the lead by our origin, or one with the phone and without an owner, which gets our origin, or a new
        one."""
        found = await self._api.find(self._originator, command.ext_id)
        if found is not None:
            return found
        origin = {"ORIGINATOR_ID": self._originator, "ORIGIN_ID": command.ext_id}
        if command.phone and (with_it := await self._by_phone(command.phone)):
            page = await self._api.page({"@ID": with_it}, {"ID": "ASC"})
            if bad := next((lead for lead in page if isinstance(lead, BadLead)), None):
                raise DeliveryUnavailable(bad.why)  # it may be the one without an owner
            free = [lead.id for lead in page if lead.id is not None and not lead.origin]
            if free:
                await self._api.update(free[0], origin)
                return free[0]
        fields: dict[str, Any] = origin | {"TITLE": as_line(command.title or "", TITLE), "SOURCE_ID": SOURCE}
        fields["SOURCE_DESCRIPTION"] = as_line(command.source or "", TITLE)
        if command.phone:
            fields["PHONE"] = [{"VALUE": as_line(command.phone, PHONE), "VALUE_TYPE": "MOBILE"}]
        return await self._api.add(fields)

    async def _by_phone(self, phone: str) -> list[int]:
        """Return the leads with this phone; the portal compares digits [inferred], with and without the plus
        (docs/contracts/bitrix24.md#duplicates)."""
        values = [phone, digits(phone)]
        method = "crm.duplicate.findbycomm"
        reply = await self._portal.call(method, {"type": "PHONE", "values": values, "entity_type": "LEAD"})
        if not reply.result and isinstance(reply.result, list):  # an empty map of PHP
            return []
        if not isinstance(reply.result, Mapping) or not reply.result.keys() <= {"LEAD", "CONTACT", "COMPANY"}:
            raise Unreadable(method, "no lists by LEAD, CONTACT and COMPANY")
        return ids(method, reply.result.get("LEAD", []))


def mark(comment: str) -> str | None:
    """Return the command's id at the end of one of our comments; None for comments of others."""
    found = MARK.search(plain(comment))
    return found[1] if found else None
