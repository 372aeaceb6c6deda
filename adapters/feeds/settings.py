"""Settings of the feed files."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field, SecretStr, field_validator

NAME: Final = r"^[a-z0-9][a-z0-9-]{0,39}$"
Format = Literal["auto", "yrl", "cian", "avito", "json"]


class FeedFile(BaseModel, extra="forbid", hide_input_in_errors=True):
    """One feed file and its schedule."""

    name: Annotated[str, Field(pattern=NAME)]
    """Name in commands, logs and the records' ``ce_source``: lower-case letters, digits and hyphens."""
    url: SecretStr
    """``https://…``, or the path of a file. A secret, as its query may hold a key; plain http on loopback only."""
    format: Format = "auto"
    """``auto``: each offer is read by the name of its element."""
    every_s: Annotated[float, Field(ge=1, le=7 * 86_400)] = 3_600.0
    """Seconds between the starts of two requests."""
    id_prefix: Annotated[str, Field(max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    """Put before every id of the file, for feeds whose ids are not unique among all sources."""
    shrink_limit: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Part of the known offers that may be gone at once; a file that lacks more is refused whole."""

    @field_validator("url")
    @classmethod
    def _not_empty(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().strip():
            raise ValueError("https://… or the path of a file")
        return value


class FeedsSettings(BaseModel):
    """Feed files that are read on a schedule."""

    sources: tuple[FeedFile, ...] = ()
    """JSON: a list of objects with ``name``, ``url``, ``format``, ``every_s``, ``id_prefix``, ``shrink_limit``."""

    @field_validator("sources")
    @classmethod
    def _named_once(cls, value: tuple[FeedFile, ...]) -> tuple[FeedFile, ...]:
        names = [source.name for source in value]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"each name once; twice came {', '.join(sorted(twice))}")
        return value
