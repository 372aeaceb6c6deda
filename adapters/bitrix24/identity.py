"""The identity of a portal: its address, the user of its webhook, and our leads in it.

A webhook does not identify its portal (``app.info`` is for applications, docs/contracts/bitrix24.md#calls). So our
leads are the witnesses: the same ids with the same origin and creation time are in no other portal, whatever the
address and the webhook's user are. Without one of our leads the address decides; on this machine, where twins share
it, the user as well.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import httpx
from aiokafka.errors import KafkaError

from adapters.bitrix24.items import lead_api
from adapters.bitrix24.leads import PortalLead
from adapters.bitrix24.rest.answers import Reply
from adapters.bitrix24.rest.client import Bitrix24Client
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.identity import Sure
from adapters.loopback import is_local
from schemas.errors import BrokenSetup, DeliveryError, DeliveryRefused, DeliveryUnavailable

WITNESSES: Final = 10
"""Leads that an identity holds at most."""
Identity = dict[str, Any]
"""``host``; ``user``: a digest; ``leads``: digests of some of our leads by id."""
Settle = Callable[[Callable[[Identity | None], Identity | None]], Awaitable[None]]
"""Passes the known identity to a function and keeps the one that it returns. Raises what the function raises."""


def same(known: Mapping[str, Any], came: Mapping[str, Any]) -> bool:
    """Return whether two identities are those of one portal."""
    there = [came["leads"][id] == mark for id, mark in known["leads"].items() if id in came["leads"]]
    if there:
        return any(there)
    return bool(came["host"] == known["host"] and (not is_local(came["host"]) or came["user"] == known["user"]))


def decide(known: Identity | None, came: Identity) -> Identity:
    """Return the identity that is known from now on. Raises BrokenSetup if another portal answered."""
    if known is None:
        return came
    if not same(known, came):
        raise BrokenSetup(
            f"another portal: these commands were carried out in {_name(known)}, now the webhook is of {_name(came)}",
            hint="Set KOUNTER_BITRIX24__WEBHOOK_URL to a webhook of that portal. To move to this one for good, run "
            "`kounter adopt portal`: it lists what it forgets.",
        )
    leads = {id: mark for id, mark in known["leads"].items() if came["leads"].get(id) == mark}
    return {**known, **came, "leads": leads or came["leads"] or known["leads"]}


class SamePortal(Bitrix24Client):
    """A client that calls one portal: while it is unknown which portal answers, nothing is written there, nor read."""

    def __init__(self, settings: Bitrix24Settings, settle: Settle) -> None:
        super().__init__(settings)
        self._host = httpx.URL(settings.webhook_url.get_secret_value().strip()).host
        self._originator, self._settle = settings.originator, settle
        self._known: Mapping[str, Any] = {}
        self._sure = Sure(self._look)
        self._looks = _Plain(self)

    async def call(self, method: str, params: Mapping[str, Any]) -> Reply:
        """Call a method as `Bitrix24Client.call`. Raises also BrokenSetup if another portal answers."""
        await self._sure.ensure()
        try:
            return await super().call(method, params)
        except DeliveryError as error:
            self._sure.failed(error)
            raise

    async def begin(self) -> None:
        """Check at a start; a portal that is away is checked before the first call. Raises BrokenSetup for another."""
        await self._sure.begin()

    async def came(self, witnesses: Mapping[str, str]) -> Identity:
        """Return the identity of the portal that answers: its ``witnesses`` if given, otherwise its oldest leads.

        Raises DeliveryError.
        """
        plain = self._looks
        leads = lead_api(plain)  # type: ignore[arg-type]
        wanted = {"@ID": [int(id) for id in witnesses]} if witnesses else {"=ORIGINATOR_ID": self._originator}
        profile, found = await asyncio.gather(plain.call("profile", {}), leads.page(wanted, {"ID": "ASC"}))
        user = profile.result if isinstance(profile.result, Mapping) else {}
        names = (str(user.get(name, "")) for name in ("ID", "NAME", "LAST_NAME"))
        readable = [lead for lead in found if isinstance(lead, PortalLead)]
        marks = {str(lead.id): _mark(lead) for lead in readable[:WITNESSES]}
        return {"host": self._host, "user": _digest(*names), "leads": marks}

    async def _look(self) -> None:
        try:
            await self._settle(self._remember)
            came = await self.came(self._known.get("leads", {}))
            await self._settle(lambda known: decide(known, came))
        except KafkaError as error:
            raise DeliveryUnavailable(f"the known portal can't be looked up: {type(error).__name__}") from None
        except DeliveryRefused as error:  # the check is refused, not the command that waits for it
            raise DeliveryUnavailable(f"the portal can't be identified: {error.message}") from None

    def _remember(self, known: Identity | None) -> Identity | None:
        self._known = known or {}
        return known


class _Plain:
    """The client's calls without the check, for the check itself."""

    def __init__(self, portal: SamePortal) -> None:
        self._portal, self.api = portal, portal.api

    async def call(self, method: str, params: Mapping[str, Any]) -> Reply:
        """Call a method. Raises DeliveryError."""
        return await Bitrix24Client.call(self._portal, method, params)


def _name(identity: Mapping[str, Any]) -> str:
    return f"{identity['host']} (user {identity['user']}, {len(identity['leads'])} of our leads seen)"


def _mark(lead: PortalLead) -> str:
    born = "" if lead.date_create is None else str(lead.date_create.timestamp())
    return _digest(lead.originator, lead.origin, born)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
