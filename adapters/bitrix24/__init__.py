"""Bitrix24: the client, the delivery port for lead cards, and a twin of a portal (docs/contracts/bitrix24.md)."""
