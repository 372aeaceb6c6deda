"""ORIGIN_ID of our leads: whose it is."""

from __future__ import annotations

from adapters.bitrix24.origins import origin_of, owner


def test_whose_lead_it_is() -> None:
    assert owner("abonent:15") == ("domofon.abonent", "15")
    assert owner("estate.lead:a:b") == ("estate.lead", "a:b")
    assert [owner(o) for o in ("", "abonent:", "somebody else's", "estate.lead:sha256:0f", "crm.deal:1")] == [None] * 5
    assert owner(origin_of("estate.lead", "a:b")) == ("estate.lead", "a:b")
    assert owner(origin_of("estate.lead", "a" * 300)) is None, "of a hash nobody knows what it was"
