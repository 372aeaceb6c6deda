"""The page of errors is what the classes say."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

import pytest

from kounter.errors_page import errors_page, import_all, tree
from schemas.errors import KounterError

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture(scope="module")
def errors() -> list[type[KounterError]]:
    import_all()
    return [error for error, _ in tree(KounterError)]


def test_the_page_is_up_to_date() -> None:
    """If not: ``python -m kounter.errors_page > docs/errors.md``."""
    assert (DOCS / "errors.md").read_text("utf-8") == errors_page()


def test_codes_are_words_and_no_two_errors_share_one(errors: list[type[KounterError]]) -> None:
    counts = Counter(error.code for error in errors)
    assert [code for code, count in counts.items() if count > 1] == []
    assert [code for code in counts if not re.fullmatch(r"[a-z][a-z0-9_]*", code)] == []


def test_every_error_that_can_be_raised_says_what_it_means_and_what_to_do(errors: list[type[KounterError]]) -> None:
    for error in errors:
        assert inspect.getdoc(error), error
        assert error.__subclasses__() or error.hint != KounterError.hint, f"{error.__name__} has no hint of its own"


def test_the_variables_that_hints_name_exist(errors: list[type[KounterError]]) -> None:
    settings = (DOCS / "settings.md").read_text("utf-8")
    named = {name for error in errors for name in re.findall(r"KOUNTER_[A-Z0-9_]+", error.hint)}
    assert [name for name in named if f"`{name}`" not in settings] == []
