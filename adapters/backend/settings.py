"""Settings of the way to the main backend."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, field_validator

from streams.rules import BackendRules

LONG_S: Final = 600.0
"""Seconds after which a change that waits for its parent needs a person."""


class BackendSettings(BackendRules):
    """The main backend, which reads the estate's changes as a numbered log."""

    listen: str = "127.0.0.1:7172"
    """Address of the log's server, ``host:port``. Beyond loopback ``header_value`` must be set."""
    header_name: str = Field(default="X-Kounter-Key", pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
    """Header by which a client authenticates."""
    header_value: SecretStr = SecretStr("")
    """Its value; empty: every client of this machine is served."""
    wait_s: float = Field(default=60.0, ge=0)
    """Seconds for which a change is held for a user, agency or client that it refers to. For a parent, such as a
    premise's building, it is held until that comes."""

    base_url: str = ""
    """Address of the backend's own door, ``https://host/api``, for `kounter deliver backend`; empty: none."""
    public_key_file: Path | None = None
    """PEM of the backend's RSA public key, with which bodies for its door are encrypted; none: they are sent plain."""
    timeout_s: float = Field(default=30.0, gt=0)
    """Seconds for a call of the door."""

    @field_validator("header_value")
    @classmethod
    def _printable(cls, value: SecretStr) -> SecretStr:
        if not all(" " <= c <= "~" for c in value.get_secret_value()):
            raise ValueError("only printable ASCII: it is sent as an HTTP header")
        return value
