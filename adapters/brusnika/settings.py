"""Settings of the Brusnika feed."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import BaseModel, Field, SecretStr, field_validator

HARD_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a frame above which the socket itself is closed (1009). Frames between the setting's limit and this one
are refused with an error frame, and the connection lives on."""


class Framing(StrEnum):
    """The form of the feed's messages."""

    AUTO = "auto"
    """Found out: a WebSocket is tried first, then Socket.IO; Nest's envelope is seen in the frames."""
    PLAIN = "plain"
    NEST = "nest"
    """``{"event": "events", "data": <frame>}``."""
    SOCKETIO = "socketio"


class SlotSettings(BaseModel):
    """Polling of free times for visits."""

    url: str = ""
    """Base URL of the CRM, ``https://host``; empty: no polling."""
    projects: tuple[str, ...] = ()
    """Projects to ask for; empty: all that are known."""
    kinds: tuple[str, ...] = ("apartment",)
    """Kinds of premises, in the CRM's own words."""
    every_s: float = Field(default=300.0, ge=5)
    """Seconds between two rounds."""


class BrusnikaSettings(BaseModel):
    """Address of the feed, and the custom header by which it authenticates us (its real name is not public)."""

    url: str = ""
    """URL of the feed, ``wss://host/path``; empty: no feed."""
    header_name: str = Field(default="X-Kounter-Key", pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
    header_value: SecretStr = SecretStr("")
    framing: Framing = Framing.AUTO
    """``auto``, ``plain``, ``nest`` or ``socketio``."""
    max_frame_bytes: int = Field(default=1024 * 1024, gt=0, le=HARD_LIMIT)
    source: str = "brusnika"
    """Names the feed in positions and events; two feeds need two names."""
    slots: SlotSettings = SlotSettings()

    @field_validator("header_value")
    @classmethod
    def _printable(cls, value: SecretStr) -> SecretStr:
        if not all(" " <= c <= "~" for c in value.get_secret_value()):
            raise ValueError("only printable ASCII: it is sent as an HTTP header")
        return value
