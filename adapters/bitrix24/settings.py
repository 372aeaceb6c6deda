"""Settings of Bitrix24: the portal, its webhook, and the watch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, SecretStr


class Bitrix24Settings(BaseModel):
    """The portal and the signature of our leads."""

    webhook_url: SecretStr = SecretStr("")
    """``https://<portal>/rest/<user>/<code>/``; empty: no portal."""
    timeout_s: float = Field(default=65.0, gt=0, le=300)
    """Seconds to wait for an answer. A portal ends a request after 60 s itself, so with more than that none of our
    requests is still running there when a lead is searched and created again."""
    calls_per_s: float = Field(default=2.0, gt=0, le=1000)
    """Requests that the portal's plan allows in the long run: 2, for Enterprise 5. Each carries up to 50 calls. The
    deliveries divide it among themselves, by the partitions that each has."""
    burst: int = Field(default=50, ge=1, le=1000)
    """Requests that it allows at once, after a rest: 50, for Enterprise 250."""
    api: Literal["lead", "item"] = "lead"
    """The methods by which leads are written and read: ``crm.lead.*``, deprecated, or ``crm.item.*``."""
    originator: str = Field(default="kounter", min_length=1, max_length=255)
    """ORIGINATOR_ID of our leads; leads are searched by it and ORIGIN_ID before an uncertain create is repeated."""


class Bitrix24HookSettings(BaseModel):
    """The portal's outgoing webhook."""

    application_token: SecretStr = SecretStr("")
    """The portal shows it where the webhook is created; empty: no event is accepted."""
    path: str = Field(default="/hooks/bitrix24", pattern=r"^(/[A-Za-z0-9_-]+)+$")
    """Path of the address that the webhook calls."""


class WatchSettings(BaseModel):
    """The watch of the portal."""

    listen: str = "127.0.0.1:7190"
    """``host:port`` for the portal's outgoing webhook; beyond loopback its token must be set."""
    every_s: float = Field(default=60.0, ge=1)
    """Seconds between reconciliations."""
    reply_prefix: str = Field(default="//", min_length=1, max_length=20)
    """A person's comment that begins with this is sent without it to the abonent who owns the lead."""
    hook: Bitrix24HookSettings = Bitrix24HookSettings()
