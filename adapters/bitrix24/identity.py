"""Which portal it is: by its address, by the user whose webhook it is, and by the leads of ours that stand there.

A webhook says nothing of the portal itself (``app.info`` is for applications, docs/contracts/bitrix24.md#calls). So
what we have made there is the witness: the same ids with the same origin and birth are in no other portal, whatever the
address is and whoever made the webhook. Without a lead of ours the address decides; on this machine, where twins share
it, also the user.
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
Identity = dict[str, Any]
"""``host``; ``user``: a digest; ``leads``: digests by id, of some that are ours there."""
Settle = Callable[[Callable[[Identity | None], Identity | None]], Awaitable[None]]
"""Has what is known shown to a function, and keeps what that returns."""


def same(known: Mapping[str, Any], came: Mapping[str, Any]) -> bool:
    """Whether it is the portal that is known."""
    there = [came["leads"][id] == mark for id, mark in known["leads"].items() if id in came["leads"]]
    if there:
        return any(there)
    return bool(came["host"] == known["host"] and (not is_local(came["host"]) or came["user"] == known["user"]))


def decide(known: Identity | None, came: Identity) -> Identity:
    """What is known from now on. Raises BrokenSetup if another portal came."""
    if known is None:
        return came
    if not same(known, came):
        raise BrokenSetup(
            f"another portal: these commands were carried out in {_name(known)}, now the webhook is of {_name(came)}",
            hint="Set KOUNTER_BITRIX24__WEBHOOK_URL to a webhook of that portal. To move to this one for good there is "
            "`kounter adopt portal`: it says what it forgets.",
        )
    leads = {id: mark for id, mark in known["leads"].items() if came["leads"].get(id) == mark}
    return {**known, **came, "leads": leads or came["leads"] or known["leads"]}


class SamePortal(Bitrix24Client):
    """A client that calls one portal: while it is not sure which one answers, nothing is written there, nor read."""

    def __init__(self, settings: Bitrix24Settings, settle: Settle) -> None:
        super().__init__(settings)
        self._host = httpx.URL(settings.webhook_url.get_secret_value().strip()).host
        self._originator, self._settle = settings.originator, settle
        self._known: Mapping[str, Any] = {}
        self._sure = Sure(self._look)
        self._looks = _Plain(self)

    async def call(self, method: str, params: Mapping[str, Any]) -> Reply:
        """As `Bitrix24Client.call`. Raises also BrokenSetup: another portal answers."""
        await self._sure.ensure()
        try:
            return await super().call(method, params)
        except DeliveryError as error:
            self._sure.failed(error)
            raise

    async def begin(self) -> None:
        """At the start: raises BrokenSetup for another portal. One that is away is looked at before the first call."""
        await self._sure.begin()

    async def came(self, witnesses: Mapping[str, str]) -> Identity:
        """The portal that answers. Raises DeliveryError."""
        plain = self._looks
        leads = lead_api(plain)  # type: ignore[arg-type]
        wanted = {"@ID": [int(id) for id in witnesses]} if witnesses else {"=ORIGINATOR_ID": self._originator}
        profile, found = await asyncio.gather(plain.call("profile", {}), leads.page(wanted, {"ID": "ASC"}))
        user = profile.result if isinstance(profile.result, Mapping) else {}
        names = (str(user.get(name, "")) for name in ("ID", "NAME", "LAST_NAME"))
        marks = {str(lead.id): _mark(lead) for lead in found[:WITNESSES]}
        return {"host": self._host, "user": _digest(*names), "leads": marks}

    async def _look(self) -> None:
        try:
            await self._settle(self._remember)
            came = await self.came(self._known.get("leads", {}))
            await self._settle(lambda known: decide(known, came))
        except KafkaError as error:
            raise DeliveryUnavailable(f"it can't be looked up which portal is ours: {type(error).__name__}") from None
        except DeliveryRefused as error:  # of the look, not of the command that waits for it
            raise DeliveryUnavailable(f"the portal does not say who it is: {error.message}") from None

    def _remember(self, known: Identity | None) -> Identity | None:
        self._known = known or {}
        return known


class _Plain:
    """The client's calls as they are, for the look itself."""

    def __init__(self, portal: SamePortal) -> None:
        self._portal, self.api = portal, portal.api

    async def call(self, method: str, params: Mapping[str, Any]) -> Reply:
        return await Bitrix24Client.call(self._portal, method, params)


def _name(identity: Mapping[str, Any]) -> str:
    return f"{identity['host']} (user {identity['user']}, {len(identity['leads'])} leads of ours seen)"


def _mark(lead: PortalLead) -> str:
    born = "" if lead.date_create is None else str(lead.date_create.timestamp())
    return _digest(lead.originator, lead.origin, born)


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
