"""Errors of feed files. Each names the field, the expected value and the received one."""

from __future__ import annotations

from schemas.errors import InvalidInput, KounterError


class BrokenFeed(InvalidInput):
    """A feed file that can't be read to its end, or is no feed. Nothing of it is applied."""

    code = "broken_feed"
    hint = "Nothing of the file was applied; what is known stays. It is read again on schedule: ask its publisher."


class NoRoot(BrokenFeed):
    """A document of comments only: a feed that its publisher has retired, or a fault. The guard refuses it."""


class FeedUnavailable(KounterError):
    """A feed file that can't be had: its server is down, slow, or answers with an error."""

    code = "feed_unavailable"
    hint = "What is known stays, and the file is requested again on schedule. Check its address in `kounter settings`."
