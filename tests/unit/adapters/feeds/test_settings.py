"""The settings of feed files."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from adapters.feeds.settings import FeedFile, FeedsSettings


def test_defaults() -> None:
    feed = FeedFile.model_validate({"name": "msk", "url": "https://feed.example/x?key=secret"})
    assert (feed.format, feed.every_s, feed.id_prefix, feed.shrink_limit) == ("auto", 3600.0, "", 0.2)
    assert "secret" not in repr(feed)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "A/B"},
        {"name": ""},
        {"url": " "},
        {"format": "xml"},
        {"every_s": 0},
        {"shrink_limit": 1.5},
        {"id_prefix": "\n"},
        {"shrinklimit": 0.1},
    ],
)
def test_wrong_ones_are_refused_without_the_address(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as error:
        FeedFile.model_validate({"name": "x", "url": "https://feed.example/?key=secret", **wrong})
    assert "secret" not in str(error.value)


def test_names_are_unique() -> None:
    one = {"name": "x", "url": "/x.xml"}
    with pytest.raises(ValidationError, match="twice came x"):
        FeedsSettings.model_validate({"sources": [one, one]})
