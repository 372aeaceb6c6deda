"""XML that is broken or hostile is refused whole, in bounded memory; what is only odd is read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from adapters.feeds.errors import BrokenFeed, NoRoot
from adapters.feeds.parse.elements import MOST_BYTES, OfferElement, offers
from tests.unit.adapters.feeds.lots import YRL, Lot, cian_object, some, yrl, yrl_offer

BOMB = b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><a><offer>&b;</offer></a>'
BROKEN = {
    "doctype": (b"<?xml version='1.0'?><!DOCTYPE feed><feed/>", "XML without a DOCTYPE"),
    "entity bomb": (BOMB, "XML without a DOCTYPE"),
    "external entity": (
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a><offer>&x;</offer></a>',
        "XML without a DOCTYPE",
    ),
    "doctype in UTF-16": ("<?xml version='1.0'?><!DOCTYPE a><a><offer/></a>".encode("utf-16"), "XML without a DOCTYPE"),
    "unknown entity": (b"<a><offer>&x;</offer></a>", "well-formed XML"),
    "truncation": (yrl(some(3))[:-40], "well-formed XML"),
    "truncation between offers": (yrl(some(3)).removesuffix(b"</realty-feed>"), "well-formed XML"),
    "nothing": (b"", "an XML feed"),
    "HTML": (b"<!doctype html>\n<html><body>404 Not Found</body></html>", "an XML feed"),
    "HTML without a doctype": (b"\n <HTML><head></head><body>404<br></body></HTML>", "an XML feed"),
    "text": (b"404 Not Found", "well-formed XML"),
    "NUL": (b"<a><offer>\0</offer></a>", "well-formed XML"),
    "wrong UTF-8": (b"<a><offer>\xff\xfe</offer></a>", "well-formed XML"),
    "two roots": (b"<a><offer/></a><b/>", "well-formed XML"),
    "65 attributes": (
        b"<a><offer " + b" ".join(b'a%d=""' % n for n in range(65)) + b"/></a>",
        "at most 64 attributes",
    ),
    "200,000 attributes": (
        b"<a><offer " + b" ".join(b'a%d=""' % n for n in range(200_000)) + b"/></a>",
        f"at most {MOST_BYTES} bytes",
    ),
    "13 levels": (b"<a><offer>" + b"<b>" * 13 + b"</b>" * 13 + b"</offer></a>", "at most 12 levels"),
    "500 levels": (b"<a><offer>" + b"<b>" * 500 + b"</b>" * 500 + b"</offer></a>", "well-formed XML"),
}


def read(raw: bytes) -> list[OfferElement]:
    return list(offers([raw]))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_whole(name: str) -> None:
    raw, expected = BROKEN[name]
    with pytest.raises(BrokenFeed) as error:
        read(raw)
    assert error.value.expected == expected
    assert "was applied" in error.value.hint


def endless(first: bytes, piece: bytes, taken: list[int]) -> Iterator[bytes]:
    yield first
    for n in itertools.count():
        taken.append(n)
        yield piece


@pytest.mark.parametrize(
    "first", [b"<a><offer><d>", b"<a>", b"<a><offer x='", b"<!--"], ids=["offer", "root", "attr", "comment"]
)
def test_an_offer_of_20_mb_is_refused_after_a_few_pieces(first: bytes) -> None:
    taken: list[int] = []
    with pytest.raises(BrokenFeed, match="at most"):
        list(offers(endless(first, b"x" * 65_536, taken)))
    assert len(taken) < 10


def test_a_file_of_comments_has_no_root() -> None:
    with pytest.raises(NoRoot):
        read(b"<?xml version='1.0' encoding='utf-8'?>\n<!-- retired, see another file -->\n")


@pytest.mark.parametrize(
    "raw",
    [
        yrl(some(2)),
        yrl(some(2), head="<realty-feed>"),
        b"\xef\xbb\xbf<?xml version='1.0' encoding='utf-8'?>" + yrl(some(2)),
        f'<?xml version="1.0" encoding="windows-1251"?>{yrl(some(2)).decode()}'.encode("cp1251"),
        f'<?xml version="1.0" encoding="utf-16"?>{yrl(some(2)).decode()}'.encode("utf-16"),
        f'<y:realty-feed xmlns:y="{YRL}">'.encode()
        + yrl(some(2), head="").replace(b"</realty-feed>", b"</y:realty-feed>"),
    ],
    ids=["namespace", "no namespace", "BOM", "cp1251", "UTF-16", "prefix of the root only"],
)
def test_encodings_and_namespaces_do_not_matter(raw: bytes) -> None:
    found = read(raw)
    assert [(o.kind, o.first["@internal-id"], o.first["location/locality-name"]) for o in found] == [
        ("offer", "lot-0", "Тюмень"),
        ("offer", "lot-1", "Тюмень"),
    ]


def test_offers_of_several_formats_in_one_file() -> None:
    raw = f"<realty-feed>{cian_object(Lot('c'))}{yrl_offer(Lot('y'))}</realty-feed>".encode()
    assert [offer.kind for offer in read(raw)] == ["object", "offer"]


def test_every_text_of_a_path_is_kept_in_order() -> None:
    (offer,) = read(b'<a><offer><image tag="plan">1</image><image tag="x">2</image><image/></offer></a>')
    assert offer.all("image") == ["1", "2"]
    assert offer.all("image@tag") == ["plan", "x"]
    assert offer.all("nothing") == []


def test_pieces_may_be_cut_anywhere() -> None:
    raw = yrl(some(3))
    whole = read(raw)
    for size in (1, 7, 100):
        assert list(offers(raw[n : n + size] for n in range(0, len(raw), size))) == whole


NAMES = {
    "elements": "<t{0}/>",
    "attributes": "<t a{0}=''/>",
    "namespaces": "<t xmlns:p='urn:{0}'/>",
}


@pytest.mark.parametrize("inside", [True, False], ids=["in offers", "beside them"])
@pytest.mark.parametrize("kind", NAMES)
def test_a_file_of_very_many_names_is_refused_early(kind: str, inside: bool) -> None:
    taken: list[int] = []

    def pieces() -> Iterator[bytes]:
        yield b"<a>"
        for offer in itertools.count():
            taken.append(offer)
            names = "".join(NAMES[kind].format(offer * 500 + n) for n in range(500))
            yield (f"<offer>{names}</offer>" if inside else f"{names}<offer/>").encode()

    with pytest.raises(BrokenFeed, match="different names"):
        list(offers(pieces()))
    assert len(taken) < 3_000  # 330 on average
