"""Domains under the rules of a deployment."""

from __future__ import annotations

import pytest

from streams.domains import DOMAINS, with_rules
from tests.support.trial import TRIAL


def test_each_domain_is_found_and_one_that_a_program_has_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of an added domain ended at its start: the table of rules has no entry for it."""
    monkeypatch.setitem(DOMAINS, TRIAL.name, TRIAL)
    assert [with_rules(name, ()).name for name in DOMAINS] == [*DOMAINS]
    assert with_rules(TRIAL.name, ()) is TRIAL


def test_one_that_is_none_is_an_error() -> None:
    with pytest.raises(KeyError):
        with_rules("none", ())
