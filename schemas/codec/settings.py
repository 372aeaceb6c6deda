"""Settings of the schema registry's client."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, SecretStr


def _address(url: str) -> str:
    """Returns the address of one registry. Raises ValueError."""
    url = url.strip().rstrip("/")
    try:
        parsed = urlsplit(url)
        parsed.port  # noqa: B018 - raises ValueError
    except ValueError as error:
        raise ValueError(f"an address such as http://host:8081: {error}") from None
    if url and (parsed.scheme not in ("http", "https") or not parsed.hostname or "," in parsed.netloc):
        raise ValueError("one address with its scheme, such as http://host:8081")
    return url


class RegistrySettings(BaseModel):
    """Address of the registry and the access to it."""

    url: Annotated[str, AfterValidator(_address)] = ""
    """URL with its path, such as ``http://host:8080/apis/ccompat/v7`` of an Apicurio; empty: the embedded one."""
    username: str = ""
    password: SecretStr = SecretStr("")
    ca_file: Path | None = None
    """PEM file of the authority that signed the registry's certificate; none: the system's own authorities."""
    timeout_s: float = 5.0
