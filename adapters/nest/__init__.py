"""Services written with Nest: their messages in and ours out, as JSON on Kafka topics
(docs/contracts/core-users.md#messages)."""
