"""Which spellings of a phone are one number: the portal's own rule, and ours for what a person puts behind it."""

from __future__ import annotations

import pytest

from adapters.bitrix24.cards import digits, extension
from adapters.bitrix24.twin.leads import sought_form

ONE = "79990000001"


@pytest.mark.parametrize(
    "phone",
    [
        "+79990000001",
        "8 (999) 000-00-01",
        "89990000001,,7",
        "+79990000001;12",
        "+7 999 000-00-01#404",
        "007 999 0000001",
        "+79990000001;ext=12",
        "7999000-00-01 доб. 12",
        "+7(999)0000001 (доб.12)",
        "8 999 000 00 01 ext 7",
        "тел. 89990000001",
        "+7 999 000-00-01, 8 999 000-00-02",
        "+79990000001 x5",
        "0117 9990000001",
    ],
)
def test_one_number(phone: str) -> None:
    assert digits(phone) == ONE


@pytest.mark.parametrize("phone", ["+79990000002", "9990000001", "+7999000000112", "+8 199 900-00-001", "", "доб. 12"])
def test_another_number(phone: str) -> None:
    assert digits(phone) != ONE


@pytest.mark.parametrize(
    "phone",
    [
        "+79990000001",
        "8 (999) 000-00-01",
        "89990000001,,7",
        "+79990000001;12",
        "+7 999 000-00-01#404",
        "+8613812345678",
        "81312345678",
        "+81312345678",
        "0079990000001",
        "09990000001",
        "9990000001",
        "112",
        "+375291234567",
        "80291234567",
    ],
)
def test_the_rule_is_the_portals(phone: str) -> None:
    assert digits(phone) == sought_form("PHONE", phone)


def test_an_extension_is_what_stands_behind_the_number() -> None:
    assert [extension(phone) for phone in ("+79990000001;12", "8 999 000-00-01 доб. 12", "+79990000001", "", "12")] == [
        ";12", "доб. 12", "", "", ""
    ]  # fmt: skip
