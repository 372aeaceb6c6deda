"""What ``kounter rebuild`` says of those who tell the outside."""

from __future__ import annotations

from kounter.commands.repair.rebuild import said_by
from kounter.settings import Settings
from streams.domains import DOMAINS

SETTINGS = Settings()


def test_all_who_say_outside_what_a_domain_writes_are_to_go_on_behind_it() -> None:
    assert said_by(DOMAINS["estate"], SETTINGS) == {"delivery-bitrix24": "bitrix.commands"}
    assert said_by(DOMAINS["crm"], SETTINGS) == {"delivery-bitrix24": "bitrix.commands", "nest": "crm.core-replies"}
    assert set(said_by(DOMAINS["domofon"], SETTINGS)) == {
        "delivery-bitrix24",
        "delivery-rosdomofon",
        "delivery-rosdomofon-rest",
    }


def test_no_outbox_is_left_out() -> None:
    """One that a later domain has needs its reader named here."""
    for domain in DOMAINS.values():
        assert set(said_by(domain, SETTINGS).values()) == set(domain.outboxes)
