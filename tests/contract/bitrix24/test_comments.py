"""Comments against the twin: the lead found or made, each comment written once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.bitrix24.comments import mark
from adapters.bitrix24.markup import plain
from adapters.bitrix24.rest.answers import Bitrix24Refused
from adapters.bitrix24.sink import Bitrix24Sink
from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.server import Bitrix24Twin
from schemas.bitrix24 import CommentCommand
from schemas.errors import OutcomeUnknown
from tests.support.systems.bitrix24 import ORIGINATOR, client_of

FIRST, SECOND = "7f0c7b0e-6f0a-5a54-9d7c-3d0e2f1b8a61", "8f0c7b0e-6f0a-5a54-9d7c-3d0e2f1b8a62"


@pytest.fixture(params=["lead", "item"])
async def comments(twin: Bitrix24Twin, request: pytest.FixtureRequest) -> AsyncIterator[Bitrix24Sink]:
    async with client_of(twin, timeout_s=0.3, api=request.param) as client:
        yield Bitrix24Sink.of(client, ORIGINATOR)


def command(text: str = "Не открывается дверь", id: str = FIRST, phone: str | None = "+79990000001") -> CommentCommand:
    return CommentCommand("abonent:15", id, text, "Абонент 15", phone, "rosdomofon")


def leads(twin: Bitrix24Twin) -> list[dict[str, Any]]:
    return twin.portal.leads.find({}, {}, 0).docs


def written(twin: Bitrix24Twin) -> list[str]:
    return [row["comment"] for row in twin.portal.store.rows("SELECT comment FROM comments ORDER BY id")]


async def test_a_lead_is_made_for_who_has_none_and_the_next_comment_joins_it(
    twin: Bitrix24Twin, comments: Bitrix24Sink
) -> None:
    first = await comments.deliver(command(), None, 1, False)
    second = await comments.deliver(command("Спасибо", SECOND), None, 1, False)
    assert first.answer.lead_id == second.answer.lead_id
    (lead,) = leads(twin)
    assert (lead["ORIGIN_ID"], lead["ORIGINATOR_ID"], lead["TITLE"]) == ("abonent:15", ORIGINATOR, "Абонент 15")
    assert written(twin) == [f"Не открывается дверь\n[{FIRST}]", f"Спасибо\n[{SECOND}]"]
    assert [mark(text) for text in written(twin)] == [FIRST, SECOND]


async def test_a_lead_with_the_phone_becomes_ours_if_it_is_nobodys(twin: Bitrix24Twin, comments: Bitrix24Sink) -> None:
    async with client_of(twin) as portal:
        phone = [{"VALUE": "+7 999 000-00-01", "VALUE_TYPE": "WORK"}]
        theirs = (await portal.call("crm.lead.add", {"fields": {"TITLE": "По звонку", "PHONE": phone}})).result
    assert (await comments.deliver(command(), None, 1, False)).answer.lead_id == theirs
    (lead,) = leads(twin)
    assert (lead["TITLE"], lead["ORIGIN_ID"]) == ("По звонку", "abonent:15")


async def test_another_process_finds_the_lead_by_its_origin(twin: Bitrix24Twin, comments: Bitrix24Sink) -> None:
    await comments.deliver(command(), None, 1, False)
    async with client_of(twin) as portal:
        await Bitrix24Sink.of(portal, ORIGINATOR).deliver(command("Ещё", SECOND, None), None, 1, False)
    assert len(leads(twin)) == 1


@pytest.mark.parametrize("way", ["hang_after", "cut_after", "error_after", "not_json", "hang_before", "bad_gateway"])
async def test_a_comment_of_unknown_outcome_is_written_once(
    twin: Bitrix24Twin, comments: Bitrix24Sink, way: str
) -> None:
    twin.faults.plan(Fault(way, count=1, seconds=3, methods=("crm.timeline.comment.add",)))
    with pytest.raises(OutcomeUnknown):
        await comments.deliver(command(), None, 1, False)
    await comments.deliver(command(), None, 2, True)
    assert written(twin) == [f"Не открывается дверь\n[{FIRST}]"]


@pytest.mark.parametrize("attempt", [1, 2])
async def test_a_lead_that_was_deleted_is_made_anew(twin: Bitrix24Twin, comments: Bitrix24Sink, attempt: int) -> None:
    lost = await comments.deliver(command(), None, 1, False)
    async with client_of(twin) as portal:
        await portal.call("crm.lead.delete", {"id": lost.answer.lead_id})
    again = await comments.deliver(command("Снова", SECOND), None, attempt, attempt > 1)
    assert again.answer.lead_id != lost.answer.lead_id


@pytest.mark.parametrize("whose", [{}, {"ORIGINATOR_ID": ORIGINATOR, "ORIGIN_ID": "abonent:16"}])
async def test_a_lead_that_was_learned_elsewhere_is_not_written_to(
    twin: Bitrix24Twin, comments: Bitrix24Sink, whose: dict[str, str]
) -> None:
    """An abonent's words, and answers to them, would go to somebody else."""
    stranger = twin.portal.leads.add({"TITLE": "theirs"} | whose)
    with pytest.raises(Bitrix24Refused, match="is not the one of 'abonent:15'"):
        await comments.deliver(command()._replace(bitrix_lead_id=stranger), None, 1, False)
    assert written(twin) == []
    own = await comments.deliver(command(), None, 1, False)
    with pytest.raises(Bitrix24Refused):
        await comments.deliver(command(id=SECOND)._replace(bitrix_lead_id=stranger), None, 1, False)
    named = command("Ещё", SECOND)._replace(bitrix_lead_id=own.answer.lead_id)
    twin._app.requests.clear()
    assert (await comments.deliver(named, None, 1, False)).answer.lead_id == own.answer.lead_id
    assert dict(twin._app.requests) == {"crm.timeline.comment.add": 1}, "one that we know is not looked at again"


async def test_another_process_looks_at_a_lead_once(twin: Bitrix24Twin, comments: Bitrix24Sink) -> None:
    own = await comments.deliver(command(), None, 1, False)
    async with client_of(twin) as portal:
        other = Bitrix24Sink.of(portal, ORIGINATOR)
        twin._app.requests.clear()
        for n in range(3):
            await other.deliver(
                command(id=SECOND[:-1] + str(n))._replace(bitrix_lead_id=own.answer.lead_id), None, 1, False
            )
    assert dict(twin._app.requests) == {"crm.lead.get": 1, "crm.timeline.comment.add": 3}


def test_only_our_own_end_of_a_comment_is_a_mark() -> None:
    assert mark(f"текст\n[{FIRST}]") == FIRST
    assert mark(f"[{FIRST}] текст") is None
    assert mark("// ответ абоненту") is None


@pytest.mark.parametrize(
    "text", ["[B]x[/B] [URL=https://evil.ru]тут[/URL]", "<b>x</b> &quot; &#91;B&#93; 😀 :f09f9880:", "// x"]
)
async def test_what_an_abonent_says_is_read_as_it_was_said(
    twin: Bitrix24Twin, comments: Bitrix24Sink, text: str
) -> None:
    await comments.deliver(command(text), None, 1, False)
    (kept,) = written(twin)
    assert not re.search(r"\[/?(URL|B)|<b|://", kept)
    assert plain(kept).removesuffix(f"\n[{FIRST}]") == text
    await comments.deliver(command(text), None, 2, True)
    assert len(written(twin)) == 1, "found by its end"


async def test_a_comment_too_long_is_cut_before_what_it_is_found_by(twin: Bitrix24Twin, comments: Bitrix24Sink) -> None:
    await comments.deliver(command("ы" * 60_000), None, 1, False)
    await comments.deliver(command("ы" * 60_000), None, 2, True)
    (kept,) = written(twin)
    assert mark(kept) == FIRST
    assert len(kept.encode()) <= 65_535


@pytest.mark.parametrize("kept", ["[P]x[/P]\n[P][{}][/P]", "x<br>[{}]", "x\r\n&#91;{}&#93;\n", "x[BR][{}]&nbsp;"])
def test_a_mark_is_found_whatever_the_portal_makes_of_its_line(kept: str) -> None:
    assert mark(kept.format(FIRST)) == FIRST
