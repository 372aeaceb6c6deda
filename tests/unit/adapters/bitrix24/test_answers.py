"""What a portal's answers are read as: a list that can't be read is never an empty one."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, cast

import pytest

from adapters.bitrix24.comments import Bitrix24Comments
from adapters.bitrix24.items import Items
from adapters.bitrix24.leads import LeadApi, Leads
from adapters.bitrix24.rest.answers import Reply, Unreadable
from adapters.bitrix24.rest.batcher import Batcher
from adapters.bitrix24.rest.client import Bitrix24Client
from adapters.bitrix24.rest.operating_time import OperatingTime
from adapters.bitrix24.stages import Stages
from adapters.rate_limit import Pace
from schemas.bitrix24 import CommentCommand
from schemas.errors import DeliveryUnavailable, OutcomeUnknown

ORIGIN = "estate.lead:L-1"
ROW = {"ID": "60", "ORIGIN_ID": ORIGIN, "DATE_MODIFY": "2026-11-01T00:00:00+03:00"}
ITEM = {"id": 60, "originId": ORIGIN, "updatedTime": "2026-11-01T00:00:00+03:00", "fm": []}
OTHER = {**ROW, "ID": "61", "ORIGIN_ID": "estate.lead:L-2"}
ID = "7f0c7b0e-6f0a-5a54-9d7c-3d0e2f1b8a61"
NO_LISTS = [
    None,
    False,
    True,
    0,
    "",
    "[]",
    7,
    {"items": [ROW]},
    {"result": []},
    [None],
    ["60"],
    [[ROW]],
    [False],
    {"1": None},
]


class Portal:
    """Answers with what it is given, one after the other, and counts what is written."""

    api = "lead"

    def __init__(self, *results: Any, api: str = "lead") -> None:
        self._replies = deque(one if isinstance(one, Reply) else Reply(one, None, None) for one in results)
        self.api, self.called = api, list[str]()

    async def call(self, method: str, params: Any) -> Reply:
        self.called.append(method)
        return self._replies.popleft()


def portal(*results: Any, api: str = "lead") -> Bitrix24Client:
    return cast(Bitrix24Client, Portal(*results, api=api))


@pytest.mark.parametrize("result", NO_LISTS)
async def test_no_list_of_leads_is_an_empty_one(result: Any) -> None:
    for api in (Leads(portal(result)), Items(portal({"items": result})), Items(portal(result))):
        with pytest.raises(Unreadable):
            await api.find("kounter", ORIGIN)
    for api in (Leads(portal(result)), Items(portal({"items": result}))):
        with pytest.raises(Unreadable):
            await api.page({}, {"ID": "ASC"})


async def test_an_empty_list_is_one_and_php_may_show_a_list_as_a_map() -> None:
    for empty in ([], {}):
        assert await Leads(portal(empty)).find("kounter", ORIGIN) is None
        assert await Items(portal({"items": empty})).find("kounter", ORIGIN) is None
    assert await Leads(portal({"1": ROW})).find("kounter", ORIGIN) == 60
    assert await Items(portal({"items": {"1": ITEM}})).find("kounter", ORIGIN) == 60
    assert [lead.id for lead in await Leads(portal({"7": ROW})).page({}, {})] == [60]


@pytest.mark.parametrize("id", [None, "", "x", 0, "0", False, True, [60], {"id": 60}, 6.5])
async def test_a_row_whose_id_is_none_is_no_missing_row(id: Any) -> None:
    with pytest.raises(Unreadable):
        await Leads(portal([{**ROW, "ID": id}])).find("kounter", ORIGIN)
    with pytest.raises(Unreadable):
        await Items(portal({"items": [{**ITEM, "id": id}]})).find("kounter", ORIGIN)


@pytest.mark.parametrize(
    "rows", [[OTHER], [OTHER] * 50, [{"ID": "60"}], [{**ROW, "ORIGIN_ID": None}], [{**ROW, "ORIGIN_ID": ""}]]
)
async def test_a_filter_that_the_portal_has_not_heeded_finds_not_none(rows: list[Any]) -> None:
    """A portal ignores a filter that it does not know, and shows all leads from the oldest on."""
    with pytest.raises(Unreadable):
        await Leads(portal(rows)).find("kounter", ORIGIN)


@pytest.mark.parametrize("origin", ["estate.lead:l-1", "ESTATE.LEAD:L-1 "])
async def test_what_the_portal_takes_for_the_same_text_is_another_lead(origin: str) -> None:
    other = {**ROW, "ID": "61", "ORIGIN_ID": origin}
    assert await Leads(portal([other])).find("kounter", ORIGIN) is None
    assert await Leads(portal([other, ROW])).find("kounter", ORIGIN) == 60


@pytest.mark.parametrize("wanted", [{">ID": 60}, {"<=ID": 59}, {"@ID": [59, 61]}])
async def test_a_walk_in_circles_is_none(wanted: dict[str, Any]) -> None:
    for api in (Leads(portal([ROW])), Items(portal({"items": [ITEM]}))):
        with pytest.raises(Unreadable):
            await api.page(wanted, {"ID": "ASC"})


@pytest.mark.parametrize("result", [None, False, [], {}, "", "x", 7, [ROW], {"item": None}, {"item": [ITEM]}])
async def test_no_lead_is_read_of_another_shape(result: Any) -> None:
    for api in (Leads(portal(result)), Items(portal(result))):
        with pytest.raises(Unreadable):
            await api.get(60)


@pytest.mark.parametrize("fm", [False, "x", {"a": 1}, [None], {"PHONE": [{"id": 1}]}])
async def test_phones_of_another_shape_are_not_no_phones(fm: Any) -> None:
    """Or a second one would be added."""
    if fm:
        with pytest.raises(Unreadable):
            await Items(portal({"item": {**ITEM, "fm": fm}})).get(60)
    with pytest.raises(Unreadable):
        await Leads(portal({**ROW, "PHONE": fm})).get(60)


async def test_phones_may_be_a_map_by_numbers() -> None:
    lead = await Leads(portal({**ROW, "PHONE": {"3": {"ID": "5", "VALUE": "1"}}})).get(60)
    assert [phone.id for phone in lead.phones] == [5]


@pytest.mark.parametrize(
    "made", [None, False, True, 0, "0", "", [], {}, [7], {"ID": 7}, {"item": {}}, {"item": [7]}, -7, 7.5]
)
async def test_a_create_whose_answer_names_nothing_may_have_been_done(made: Any) -> None:
    apis: list[LeadApi] = [Leads(portal(made)), Items(portal(made)), Items(portal({"item": {"id": made}}))]
    for api in apis:
        with pytest.raises(OutcomeUnknown):
            await api.add({"TITLE": "T"})
    with pytest.raises(OutcomeUnknown):
        await Bitrix24Comments(portal(made), "kounter").deliver(
            CommentCommand("abonent:7", ID, "x", bitrix_lead_id=9), 1, False
        )


@pytest.mark.parametrize("done", [None, False, 0, "", [], {}, "N", [True]])
async def test_an_update_whose_answer_is_no_success_may_not_have_been_done(done: Any) -> None:
    for api in (Leads(portal(done)), Items(portal(done)), Items(portal({"item": done}))):
        if not (done == [True] and isinstance(api, Items)):
            with pytest.raises(OutcomeUnknown):
                await api.update(7, {"TITLE": "T"})
    await Leads(portal(True)).update(7, {"TITLE": "T"})
    await Items(portal({"item": ITEM})).update(7, {"TITLE": "T"})


@pytest.mark.parametrize("result", [*NO_LISTS, [{"ID": "5"}], [{"ID": None, "COMMENT": f"x\n[{ID}]"}]])
async def test_a_comment_is_not_written_twice_because_the_list_can_not_be_read(result: Any) -> None:
    comments = portal(result)
    with pytest.raises(Unreadable):
        await Bitrix24Comments(comments, "kounter").deliver(CommentCommand("a:7", ID, "x", bitrix_lead_id=9), 2, True)
    assert cast(Portal, comments).called == ["crm.timeline.comment.list"]


@pytest.mark.parametrize("following", [50, None])
async def test_a_comment_is_found_on_a_later_page(following: int | None) -> None:
    page = [{"ID": str(n), "COMMENT": "x"} for n in range(100, 50, -1)]
    ours = {"ID": "50", "COMMENT": f"[P]x[/P]\n[P]&#91;{ID}&#93;[/P]"}
    comments = portal(Reply(page, 51, following), [ours])
    done = await Bitrix24Comments(comments, "kounter").deliver(
        CommentCommand("a:7", ID, "x", bitrix_lead_id=9), 2, True
    )
    assert done == (50, 9)


@pytest.mark.parametrize(
    "result", [None, False, "", 0, 7, [1], {"items": [1]}, {"lead": [1]}, {"LEAD": None}, {"LEAD": False}, {"LEAD": 1},
               {"LEAD": ["x"]}, {"LEAD": [{"ID": 1}]}, {"LEAD": {"a": 1}}, {"LEAD": [0]}]
)  # fmt: skip
async def test_no_second_lead_is_made_because_who_has_the_phone_can_not_be_read(result: Any) -> None:
    comments = portal([], result)
    with pytest.raises(Unreadable):
        await Bitrix24Comments(comments, "kounter").deliver(
            CommentCommand("abonent:7", ID, "x", "T", "+79990000001"), 1, False
        )


@pytest.mark.parametrize("none", [[], {}, {"LEAD": []}, {"CONTACT": [5]}, {"LEAD": {}}])
async def test_nobody_has_the_phone(none: Any) -> None:
    comments = portal([], none, 9, 5)
    done = await Bitrix24Comments(comments, "kounter").deliver(
        CommentCommand("abonent:7", ID, "x", "T", "+79990000001"), 1, False
    )
    assert done == (5, 9)


@pytest.mark.parametrize(
    "statuses",
    [*NO_LISTS[:-1], [], [{"STATUS_ID": "NEW"}, {}], [{"STATUS_ID": None}], Reply([{"STATUS_ID": "NEW"}], 60, 50)],
)
async def test_no_stage_is_unknown_because_the_list_can_not_be_read(statuses: Any) -> None:
    """It would be refused, and the command parked."""
    with pytest.raises(DeliveryUnavailable):
        await Stages(portal(statuses, 1)).check("NEW")


@pytest.mark.parametrize("mode", [None, False, True, 0, 3, "", [], {}, "simple"])
async def test_a_mode_that_can_not_be_read_is_not_the_one_with_leads(mode: Any) -> None:
    with pytest.raises(Unreadable):
        await Stages(portal([{"STATUS_ID": "NEW"}], mode)).simple()


async def test_a_source_is_no_stage() -> None:
    stages = Stages(
        portal([{"STATUS_ID": "NEW", "ENTITY_ID": "STATUS"}, {"STATUS_ID": "CALL", "ENTITY_ID": "SOURCE"}], "2")
    )
    assert list(await stages.all()) == ["NEW"]
    assert await stages.simple()


def batcher(body: dict[str, Any]) -> Batcher:
    async def post(method: str, params: Any) -> dict[str, Any]:
        return body

    return Batcher(post, Pace(1000, 50), OperatingTime(time.time))


@pytest.mark.parametrize(("following", "read"), [(50, 50), ("50", 50), (None, None)])
async def test_where_a_list_goes_on_may_be_a_text(following: Any, read: int | None) -> None:
    reply = await batcher({"result": [], "next": following}).call("crm.lead.list", {})
    assert reply.next == read


@pytest.mark.parametrize("following", [False, "", "x", {}, [50], -1])
async def test_a_list_that_goes_on_somewhere_has_not_ended(following: Any) -> None:
    with pytest.raises(DeliveryUnavailable):
        await batcher({"result": [], "next": following}).call("crm.lead.list", {})


@pytest.mark.parametrize(
    "inner",
    [
        *(None, False, [], [[]], {}, {"result": [[]]}, {"result": {"other": []}}),
        {"result": [], "result_error": {"c0": []}},
        {"result": {}, "result_error": {"c0": False, "c1": "x"}},
        {"result": {"c0": [], "c1": []}, "result_next": {"c0": "x", "c1": {}}},
    ],
)
async def test_a_batch_of_another_shape_answers_none_of_its_calls(inner: Any) -> None:
    batch = batcher({"result": inner})
    outcomes = await asyncio.gather(*(batch.call("crm.lead.list", {}) for _ in range(2)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DeliveryUnavailable] * 2
    writes = await asyncio.gather(*(batch.call("crm.lead.add", {}) for _ in range(2)), return_exceptions=True)
    assert [type(outcome) for outcome in writes] == [OutcomeUnknown] * 2
