"""The portal's outgoing webhook: form-encoded, queued, sent once and never again
(docs/contracts/bitrix24.md#events)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from loguru import logger

from adapters.bitrix24.twin.php_form import write_form
from adapters.bitrix24.twin.store import TwinStore

EVENTS: Final = ("ONCRMLEADADD", "ONCRMLEADUPDATE", "ONCRMLEADDELETE", "ONCRMTIMELINECOMMENTADD")
QUEUE: Final = 10_000
TIMEOUT_S: Final = 5.0
MEMBER: Final = "0" * 32


@dataclass(frozen=True)
class Hook:
    """The address of a webhook and its events. Raises ValueError for a wrong one."""

    url: str
    application_token: str
    events: Sequence[str] = EVENTS
    handler_id: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.url, str) or not isinstance(self.application_token, str):
            raise ValueError("url, application_token: texts")
        if not isinstance(self.events, list | tuple):
            raise ValueError("events: a list")
        address = urlsplit(self.url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError("url: an http or https address")
        if not set(self.events) <= set(EVENTS):
            raise ValueError(f"events: only {', '.join(EVENTS)}")


class Hooks:
    """The registered webhook, kept in the store, and the queue of its events."""

    def __init__(self, store: TwinStore, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self._queue: asyncio.Queue[tuple[str, int]] = asyncio.Queue(QUEUE)
        noted = store.noted("hook")
        self.hook = Hook(**noted) if noted else None
        self.sent, self.failed = 0, 0

    def register(self, hook: Hook | None) -> None:
        """Set the webhook; None removes it."""
        self._store.note("hook", asdict(hook) if hook else None)
        self.hook = hook

    def notify(self, event: str, entity_id: int) -> None:
        """Queue an event, which is lost if the queue is full, as in a portal."""
        if self.hook and event in self.hook.events:
            try:
                self._queue.put_nowait((event, entity_id))
            except asyncio.QueueFull:
                self.failed += 1

    async def run(self, domain: str) -> None:
        """Send events until cancelled."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
            while True:
                event, entity_id = await self._queue.get()
                if self.hook is not None:
                    await self._send(client, self.hook, self._form(self.hook, event, entity_id, domain))

    def _form(self, hook: Hook, event: str, entity_id: int, domain: str) -> dict[str, Any]:
        auth = {
            "domain": domain,
            "client_endpoint": f"http://{domain}/rest/",
            "server_endpoint": f"http://{domain}/oauth/rest/",
            "member_id": MEMBER,
            "application_token": hook.application_token,
        }
        data = {"FIELDS": {"ID": entity_id}}
        return {
            "event": event,
            "event_handler_id": hook.handler_id,
            "data": data,
            "ts": int(self._clock()),
            "auth": auth,
        }

    async def _send(self, client: httpx.AsyncClient, hook: Hook, form: dict[str, Any]) -> None:
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = await client.post(hook.url, content=write_form(form), headers=headers)
            answer.raise_for_status()
            self.sent += 1
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self.failed += 1
            logger.debug("the bitrix24 twin's webhook did not arrive: {}", type(error).__name__)
