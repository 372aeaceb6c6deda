"""RosDomofon: the operator of intercoms, by REST and by its own Kafka."""
