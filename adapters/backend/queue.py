"""The main backend's own door, ``POST {base}/queue/{type}`` and ``…/many``. Source:
docs/contracts/brusnika.md#queue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from adapters.backend.settings import BackendSettings
from adapters.envelope import public_key, sealed
from adapters.http_client import HttpAnswer, HttpClient, HttpRefused, lost
from adapters.loopback import is_local
from schemas.errors import DeliveryDenied, DeliveryError, OutcomeUnknown

PATHS: Final[Mapping[str, str]] = {
    "project": "project",
    "building": "building",
    "section": "section",
    "premise": "premise",
    "client": "client",
    "lead": "lead",
    "lead_op": "lead-ops",
    "user": "user",
    "booking": "booking",
    "VISIT": "visit",
    "task": "task",
    "agency": "agency",
}
"""Paths by wire type. The backend has none for other types."""
ONE_BY_ONE: Final = ("client", "booking", "VISIT")
"""Types without ``/many``."""
TAKEN: Final = 201
OF_THE_BODY: Final = (413, 422)
"""Statuses that are about the body, also if a proxy answers."""
HINT: Final = "Check KOUNTER_BACKEND__BASE_URL and KOUNTER_BACKEND__PUBLIC_KEY_FILE; delivery is tried again by itself."


class OneMaySpoil(OutcomeUnknown):
    """The backend failed (500): at one thing of the call, whose data its database does not take, or altogether."""


class BackendQueue(HttpClient):
    """A client of the door. Raises BrokenSetup for an address or a key file that can't be used."""

    def __init__(self, settings: BackendSettings) -> None:
        path = settings.public_key_file
        self._key = None if path is None else public_key(path, "KOUNTER_BACKEND__PUBLIC_KEY_FILE")
        super().__init__(
            settings.base_url, "the main backend", setting="KOUNTER_BACKEND__BASE_URL", timeout_s=settings.timeout_s,
            headers={"Content-Type": "application/json"}, plain=is_local,
        )  # fmt: skip

    async def post(self, type: str, things: Sequence[bytes]) -> None:
        """Post things of a type that has a path: one as it is, several as ``{"data": […]}``, which only types with
        ``/many`` have.

        Raises HttpRefused if a thing is refused (an unknown parent, a wrong field, too large), OneMaySpoil,
        DeliveryUnavailable and OutcomeUnknown; DeliveryDenied for an answer that is about no thing at all.
        """
        many = len(things) > 1
        body = b'{"data":[%b]}' % b",".join(things) if many else things[0]
        path = f"queue/{PATHS[type]}{'/many' if many else ''}"
        if self._key is not None:
            body = orjson.dumps(sealed(self._key, body))
        answer = await self.request("POST", path, write=True, content=body)
        if answer.status != TAKEN or (answer.content and answer.json() is None):
            raise lost(f"POST {path}", f"{answer.status} with another body than its own", write=True)

    def failure(self, what: str, answer: HttpAnswer, *, write: bool) -> DeliveryError:
        """Return the error that an answer which is no success means."""
        status, named = answer.status, f"{what}: {answer.status}: {self.said(answer)}"
        if status == 500:
            return OneMaySpoil(f"{named}, it may have been done")
        if not 400 <= status < 500 or status == 429:
            return super().failure(what, answer, write=write)
        if status in OF_THE_BODY or _prompt(answer) is not None:
            return HttpRefused(named, status=status)
        # Nest answers 404 for a path that it does not have: with a wrong address each thing would be refused.
        return DeliveryDenied(named, for_all=True, hint=HINT)

    def said(self, answer: HttpAnswer) -> str:
        """Return the error text of an answer, that of the backend's error object among them."""
        label = (_prompt(answer) or {}).get("labels")
        text = label.get("en") if isinstance(label, dict) else None
        return self.clean(text) if isinstance(text, str) else super().said(answer)


def _prompt(answer: HttpAnswer) -> dict[str, Any] | None:
    """Returns the backend's own error object; None for an answer of somebody else."""
    body = answer.json()
    meta = body.get("meta") if isinstance(body, dict) else None
    prompt = meta.get("prompt") if isinstance(meta, dict) else None
    return prompt if isinstance(prompt, dict) else None
