"""All that can be set of the operator: its REST, its Kafka, and how we use them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field, SecretStr, StringConstraints, field_validator

from streams.kafka.settings import KafkaSettings

SUPPORT: Final = "support"
IN: Final = "MESSAGES_IN_"
OUT: Final = "MESSAGES_OUT_"
SIGN_UPS: Final = "SIGN_UPS_"
ALL: Final = "ALL"


Company = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,200}$")]
"""``company.shortName`` as the operator writes it, e.g. ``SK_SB``."""


class RosDomofonKafkaSettings(KafkaSettings):
    """The operator's own cluster, apart from Kounter's; how many partitions its topics have is its own affair."""

    group_id: str = Field(default="", max_length=255)
    """As the operator issued it, for all topics."""
    companies: tuple[Company, ...] = ()
    """Short names; more than one is served at once."""
    sign_ups_all: bool = False
    """Also read ``SIGN_UPS_ALL``."""

    @field_validator("companies")
    @classmethod
    def _distinct(cls, companies: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(companies)) < len(companies) or ALL in companies:
            raise ValueError(f"short names, each once, none of them {ALL}")
        return companies

    def topics_in(self) -> list[str]:
        """All topics that are read."""
        named = [f"{prefix}{company}" for company in self.companies for prefix in (IN, SIGN_UPS)]
        return [*named, f"{SIGN_UPS}{ALL}"] if self.sign_ups_all else named


class RosDomofonSettings(BaseModel):
    """The operator's REST and who we are there."""

    base_url: str = "https://rdba.rosdomofon.com"
    username: str = ""
    """Empty: no operator."""
    password: SecretStr = SecretStr("")
    timeout_s: float = Field(default=30.0, gt=0, le=300)
    """For an answer."""


class OperatorSettings(RosDomofonSettings):
    """The operator RosDomofon: its REST, and in ``kafka`` its own cluster."""

    kafka: RosDomofonKafkaSettings = RosDomofonKafkaSettings()
    blocks: Literal["account", "connection"] = "account"
    """What a block in the CRM blocks: the abonent's accounts, or the connections of these."""
    compare_minutes: float = Field(default=15.0, ge=0)
    """Between two comparisons of what the operator's REST has with what has come; 0: never."""
    compare_abonents: int = Field(default=500, ge=0)
    """Whose history one comparison looks through, a request or more each: first who wrote since it was looked at, then
    who was not looked at for the longest. Ever more of them are due if it is less than there are in a while."""
    compare_days: float = Field(default=3.0, gt=0, le=31)
    """How far back a history is looked through; what came over Kafka is remembered for as long."""

    @property
    def named(self) -> bool:
        """An operator is set."""
        return bool(self.kafka.bootstrap_servers and self.kafka.companies)
