"""All that can be set of the operator: its REST, its Kafka, and how we use them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from adapters.rosdomofon.rest import RosDomofonSettings
from adapters.rosdomofon.topics import RosDomofonKafkaSettings


class OperatorSettings(RosDomofonSettings):
    """The operator RosDomofon: its REST, and in ``kafka`` its own cluster."""

    kafka: RosDomofonKafkaSettings = RosDomofonKafkaSettings()
    blocks: Literal["account", "connection"] = "account"
    """What a block in the CRM blocks: the abonent's accounts, or the connections of these."""
    compare_minutes: float = Field(default=15.0, ge=0)
    """Between two comparisons of what the operator's REST has with what has come; 0: never."""

    @property
    def named(self) -> bool:
        """An operator is set."""
        return bool(self.kafka.bootstrap_servers and self.kafka.companies)
