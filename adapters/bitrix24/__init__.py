"""Bitrix24: the client, the sink for cards and comments, and a twin of a portal (docs/contracts/bitrix24.md)."""
