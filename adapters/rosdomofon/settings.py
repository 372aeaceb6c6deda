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
    compare_abonents: int = Field(default=500, ge=0)
    """Whose history one comparison looks through, a request or more each: first who wrote since it was looked at, then
    who was not looked at for the longest. Ever more of them are due if it is less than there are in a while."""
    compare_days: float = Field(default=3.0, gt=0, le=31)
    """How far back a history is looked through; what came over Kafka is remembered for as long."""

    @property
    def named(self) -> bool:
        """An operator is set."""
        return bool(self.kafka.bootstrap_servers and self.kafka.companies)
