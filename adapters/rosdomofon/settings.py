"""Settings of the operator: its REST, its Kafka, and how Kounter uses them (docs/contracts/rosdomofon.md#kafka)."""

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
    """The operator's own cluster, apart from Kounter's; the number of its topics' partitions is not ours to set."""

    group_id: str = Field(default="", max_length=255)
    """Id of the consumer group as the operator issued it, for all topics."""
    companies: tuple[Company, ...] = ()
    """Short names of the companies; several can be served at once."""
    sign_ups_all: bool = False
    """Also read ``SIGN_UPS_ALL``."""

    @field_validator("companies")
    @classmethod
    def _distinct(cls, companies: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(companies)) < len(companies) or ALL in companies:
            raise ValueError(f"short names, each once, none of them {ALL}")
        return companies

    def topics_in(self) -> list[str]:
        """Return all topics that are read."""
        named = [f"{prefix}{company}" for company in self.companies for prefix in (IN, SIGN_UPS)]
        return [*named, f"{SIGN_UPS}{ALL}"] if self.sign_ups_all else named


class RosDomofonSettings(BaseModel):
    """Address, account and timeout of the operator's REST."""

    base_url: str = "https://rdba.rosdomofon.com"
    username: str = ""
    """Name of the account; empty: the REST is not used."""
    password: SecretStr = SecretStr("")
    timeout_s: float = Field(default=30.0, gt=0, le=300)
    """Timeout of a request."""


class OperatorSettings(RosDomofonSettings):
    """The operator RosDomofon: its REST, and its own cluster in ``kafka``."""

    kafka: RosDomofonKafkaSettings = RosDomofonKafkaSettings()
    blocks: Literal["account", "connection"] = "account"
    """Target of a block in the CRM: the abonent's accounts, or the connections of these accounts."""
    compare_minutes: float = Field(default=15.0, ge=0)
    """Minutes between two comparisons of the operator's REST with the received records; 0: never."""
    compare_abonents: int = Field(default=500, ge=0)
    """Number of message histories that one comparison reads, each with one request or more: first of abonents who wrote
    since theirs was read, then of those who waited longest. It must exceed the number who write between two
    comparisons, or histories fall ever further behind."""
    compare_days: float = Field(default=3.0, gt=0, le=31)
    """Days that a history is read back; messages that came over Kafka are kept for as long."""

    @property
    def named(self) -> bool:
        """Whether an operator is set."""
        return bool(self.kafka.bootstrap_servers and self.kafka.companies)
