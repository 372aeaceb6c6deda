"""A real Kafka and a real schema registry on a machine that has only Python."""
