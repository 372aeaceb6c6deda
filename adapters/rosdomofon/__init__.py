"""RosDomofon, an operator of intercoms: its REST API and its own Kafka (docs/contracts/rosdomofon.md)."""
