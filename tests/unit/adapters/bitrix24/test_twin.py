"""The twin's parts that need no HTTP: its own bucket and forms beside the client's, operating time,
dice of faults, values, filters on any input."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.bitrix24.rest.php_form import format_brackets, parse_brackets
from adapters.bitrix24.twin.errors import RestError
from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.fields import FIELDS, kept, moment
from adapters.bitrix24.twin.filter import PREFIXES
from adapters.bitrix24.twin.items import ITEM_METHODS, ITEM_NAMES, field_name
from adapters.bitrix24.twin.limits import Bucket, Gatekeeper, Limits
from adapters.bitrix24.twin.methods import METHODS
from adapters.bitrix24.twin.php_form import read_form, write_form
from adapters.bitrix24.twin.portal import Portal, filled
from adapters.rate_limit import LeakyBucket
from adapters.twin_kit.faults import Faults

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


WAITS = st.lists(st.floats(0, 5), max_size=300)
DRAINS = st.sampled_from([0.5, 2.0, 5.0])


@given(WAITS, st.integers(1, 60), DRAINS)
def test_the_portals_bucket_lets_in_no_more_than_it_holds_and_drains(
    waits: list[float], capacity: int, drain: float
) -> None:
    now, let_in = 0.0, 0
    bucket = Bucket(capacity, drain)
    for wait in waits:
        now += wait
        let_in += bucket.admit(now)
    assert let_in <= capacity + now * drain + 1e-6


@given(WAITS, st.integers(1, 60), DRAINS)
def test_what_fits_the_clients_bucket_fits_the_portals(waits: list[float], capacity: int, drain: float) -> None:
    now = 0.0
    ours, portals = LeakyBucket(capacity, drain, lambda: now), Bucket(capacity, drain)
    for wait in waits:
        now += wait
        assert not ours.take() or portals.admit(now)


def test_the_portals_bucket_that_was_left_alone_is_empty() -> None:
    bucket = Bucket(50, 2.0)
    assert [bucket.admit(0.0) for _ in range(51)] == [True] * 50 + [False]
    assert [bucket.admit(0.5), bucket.admit(0.5)] == [True, False]
    assert [bucket.admit(1000.0) for _ in range(51)] == [True] * 50 + [False]


TREES = st.dictionaries(
    st.sampled_from(["a", "FIELDS", "0", "1", "7", "Имя +&="]),
    st.recursive(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
        lambda inner: st.dictionaries(st.sampled_from(["0", "1", "ID", "b c"]), inner, min_size=1, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


@given(TREES)
def test_client_and_portal_read_each_others_forms(values: dict[str, Any]) -> None:
    assert read_form(format_brackets(values)) == parse_brackets(format_brackets(values))
    assert parse_brackets(write_form(values)) == read_form(write_form(values))


@pytest.mark.parametrize(
    "form",
    [
        "a[]=1&a[]=2", "a[5]=1&a[]=2", "a[1]=x&a[0]=y", "a=1&a[b]=2", "a[b]=1&a=2", "a[b]=1&a[b][c]=2", "[x]=1",
        "a[b=1", "a]b=1", "a[b]c=1", "a[b]]=1", "", "&&", "a", "=1", "a=%zz&b=%D0", "a[][x]=1&a[][x]=2",
        "a%5B0%5D=1&b=x+y", "a[999999999999999999999]=1&a[]=2",
    ],
)  # fmt: skip
def test_odd_forms_are_read_alike(form: str) -> None:
    assert read_form(form) == parse_brackets(form)


@pytest.mark.parametrize("form", ["a[]=1&" * 10_001, "a" + "[b]" * 16 + "=1"])
def test_a_form_has_limits(form: str) -> None:
    with pytest.raises(ValueError, match="a form"):
        read_form(form)


def test_a_portal_is_reset() -> None:
    portal = Portal(":memory:", Limits(enabled=False), lambda: 1_800_000_000.0)
    stages = portal.store.rows("SELECT * FROM statuses")
    first = portal.leads.add({"TITLE": "a"})
    portal.reset()
    assert portal.store.rows("SELECT * FROM leads") == []
    assert [tuple(row) for row in portal.store.rows("SELECT * FROM statuses")] == [tuple(row) for row in stages]
    assert portal.leads.add({"TITLE": "b"}) == first


def test_operating_time_is_freed_minute_by_minute() -> None:
    now = 6_000.0
    gate = Gatekeeper(Limits(operating_s=2), lambda: now)
    gate.charge("m", 1)
    now += 120
    gate.charge("m", 1)
    assert gate.blocked("m")
    assert gate.reset_at("m") == 6_600
    now = 6_600.0
    assert not gate.blocked("m")
    assert gate.reset_at("m") == 6_720


def test_faults_come_at_their_rate_and_the_same_each_run() -> None:
    def run() -> list[str]:
        faults = Faults[Fault](seed=7)
        faults.plan(Fault("hang_after", rate=0.1), Fault("slow", rate=0.1, methods=("crm.lead.ADD",)))
        drawn = [faults.draw("crm.lead.add") for _ in range(1000)]
        assert all(f is None or f.kind == "hang_after" for f in (faults.draw("profile") for _ in range(100)))
        return [fault.kind if fault else "" for fault in drawn]

    assert run() == run()
    assert 60 < run().count("hang_after") < 140
    assert 60 < run().count("slow") < 140


@given(st.sampled_from([*FIELDS, "UF_CRM_1"]), ANYTHING)
def test_a_portal_keeps_any_value_as_text(name: str, value: Any) -> None:
    found = kept(name, value)
    assert found is None or isinstance(found, str) or name.startswith("UF_")


def test_times_are_kept_in_the_portals_zone() -> None:
    assert moment("2026-01-31T22:00:00Z") == "2026-02-01T01:00:00+03:00"
    assert moment("2026-01-31") == "2026-01-31T00:00:00+03:00"
    assert moment("0001-01-01T00:00:00+14:00") == moment("soon") == moment([]) == ""


def test_item_names_lead_back() -> None:
    assert {name: field_name(item) for name, item in ITEM_NAMES.items()} == {name: name for name in FIELDS}
    assert field_name("ufCrm_17") == "UF_CRM_17"
    assert field_name("nosuch") is None


def test_references_in_a_batch() -> None:
    results = {"a": 7, "l": [{"ID": "5"}], "e": []}
    params = {"id": "$result[a]", "t": "x$result[l][0][ID]y$result[l][9][ID]", "n": ["$result[zz]"], "w": "$result[l]"}
    assert filled(params, results) == {"id": 7, "t": "x5y", "n": [""], "w": [{"ID": "5"}]}


@pytest.fixture(scope="module")
def portal() -> Portal:
    built = Portal(":memory:", Limits(enabled=False), lambda: 1_800_000_000.0)
    built.leads.add({"TITLE": "a", "PHONE": [{"VALUE": "+7"}]})
    return built


KEYS = st.tuples(st.sampled_from(["", *PREFIXES]), st.sampled_from([*FIELDS, "PHONE", "UF_CRM_1"])).map("".join)
CALLED = st.sampled_from([*METHODS, *ITEM_METHODS, "batch", "nosuch"])
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "id": ANYTHING | st.just(1),
        "entityTypeId": st.just(1),
        "fields": ANYTHING | st.dictionaries(st.sampled_from([*FIELDS, "PHONE", "EMAIL", "title", "fm"]), ANYTHING),
        "filter": ANYTHING | st.dictionaries(KEYS, ANYTHING, max_size=3),
        "order": ANYTHING | st.dictionaries(KEYS, ANYTHING, max_size=2),
        "select": ANYTHING,
        "start": ANYTHING,
        "cmd": ANYTHING,
        "type": st.just("PHONE"),
        "values": ANYTHING,
    },
)


@given(CALLED, PARAMS)
def test_any_parameters_give_an_answer_or_an_error_of_the_portal(
    portal: Portal, method: str, params: dict[str, Any]
) -> None:
    try:
        body = portal.call(method, params)
    except RestError:
        return
    json.dumps(body, allow_nan=False).encode()
