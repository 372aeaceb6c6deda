"""Rules of domains that are set. They stand outside `streams.domains`, so that settings load no domain."""

from __future__ import annotations

from string import Template
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel

from schemas.domofon import SignUpStatus


def _template(text: str) -> str:
    if not Template(text).is_valid():
        raise ValueError("a text with $stage, or without any $")
    return text


TemplateText = Annotated[str, AfterValidator(_template)]


class BackendRules(BaseModel):
    """The estate's rule for the main backend."""

    enabled: bool = False
    """Whether the workers send each change of the estate to the log. It must be the same for all workers."""


class DomofonRules(BaseModel):
    """Rules of the domain, by company or stage where they differ. They must be the same for all workers."""

    acknowledgements: dict[str, str] = {}
    """Text by company, sent to an abonent whose message has come; none for a company that is not named."""
    block_stage: str | None = None
    """STATUS_ID of a lead that blocks its abonent; any other one unblocks."""
    stage_messages: dict[str, TemplateText] = {}
    """Text by STATUS_ID that an abonent gets when a person moves the lead there; ``$stage`` stands for it."""
    replies_by: Literal["kafka", "rest"] = "kafka"
    """Way of replies to the operator. ``rest`` is slower, but the operator confirms the delivery of each message."""
    stages: dict[SignUpStatus, str] = {
        SignUpStatus.UNPROCESSED: "NEW",
        SignUpStatus.PROCESSED: "IN_PROCESS",
        SignUpStatus.DELEGATED: "PROCESSED",
        SignUpStatus.CONNECTED: "CONVERTED",
        SignUpStatus.REJECTED: "JUNK",
    }
    """STATUS_ID of a sign-up's lead by its status, and back."""
