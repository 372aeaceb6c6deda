"""How rows, states and histories are shown."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import pytest
from rich.console import Console

from kounter.history.present import entry_as_dict, find_aggregate, find_topic, moment, row_as_dict, state_as_dict
from kounter.terminal import grid, put, shown, to_json
from schemas.cloudevents import read_headers
from schemas.errors import InvalidInput
from schemas.estate import Lead, LeadState, Premise, Project
from tables.fold import evolve_by
from tables.layout import layout
from tables.timeline import Said, timeline

LEADS = layout("estate.lead")


@pytest.mark.parametrize(
    "name",
    ["lead", "estate.lead", "leads", "estate.leads", "estate/leads", "/api/estate/leads", "estate_lead"],
)
def test_an_aggregate_is_found_by_its_topic_or_the_last_part_of_it(name: str) -> None:
    domain, aggregate = find_aggregate(name)
    assert (domain.name, aggregate.topic) == ("estate", "estate.lead")


@pytest.mark.parametrize(
    ("name", "topic"),
    [("cities", "estate.city"), ("users", "crm.user"), ("core-users", "crm.core-user"), ("sign_up", "domofon.sign-up")],
)
def test_names_are_taken_as_in_addresses_and_sql(name: str, topic: str) -> None:
    assert find_aggregate(name)[1].topic == topic
    assert find_topic(name) == topic


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("bitrix.commands", "bitrix.commands"),
        ("bitrix.responses", "bitrix.responses"),
        ("dead-letters", "dead-letters"),
        ("estate-state-changelog", "estate-state-changelog"),
        ("crm.directory.commands", "crm.directory.commands"),
        ("directory.commands", "crm.directory.commands"),
        ("user.replies", "crm.user.replies"),
        ("rosdomofon.requests", "rosdomofon.requests"),
        ("delivery-bitrix24-changelog", "delivery-bitrix24-changelog"),
        ("bitrix.responses.json", "bitrix.responses.json"),
    ],
)
def test_every_topic_of_ours_is_found(name: str, topic: str) -> None:
    assert find_topic(name, ["bitrix.responses.json"]) == topic


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("laeds", "estate.lead"),
        ("LEAD", "estate.lead"),
        ("bitrix.comands", "bitrix.commands"),
        ("deadletters", "dead-letters"),
    ],
)
def test_what_is_misspelt_is_answered_with_what_is_meant(name: str, meant: str) -> None:
    with pytest.raises(InvalidInput) as error:
        find_topic(name)
    assert error.value.hint.startswith(f"Did you mean {meant}?")


@pytest.mark.parametrize("name", ["commands", "", ".", "x" * 5_000])
def test_a_name_of_several_topics_or_of_none_is_answered_with_those(name: str) -> None:
    with pytest.raises(InvalidInput) as error:
        find_topic(name)
    assert "crm.user.commands" in error.value.hint


@pytest.mark.parametrize("name", ["", "estate", "estate.", ".lead", "LEAD", "bitrix.commands", "[red]x"])
def test_any_other_name_is_answered_with_those_there_are(name: str) -> None:
    with pytest.raises(InvalidInput) as error:
        find_aggregate(name)
    assert "estate.lead" in error.value.hint
    assert "estate.city" in error.value.hint


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
        (-62_135_596_800_000_000, "0001-01-01T00:00:00Z"),
    ],
)
def test_times_are_exact(micros: int, text: str) -> None:
    assert moment(micros) == text


@pytest.mark.parametrize("micros", [2**63 - 1, -(2**63)])
def test_a_time_beyond_the_calendar_is_shown_as_its_number(micros: int) -> None:
    assert moment(micros) == f"{micros} µs"


def test_rows_are_plain_and_without_what_is_absent() -> None:
    row = Premise("p1", price=Decimal("9007199254740993.10"), photos=("a", "б"), is_sold=False, unset=("rooms",))
    shown = row_as_dict(row)
    assert shown == {
        "ext_id": "p1", "price": "9007199254740993.10", "photos": ["a", "б"], "is_sold": False, "unset": ["rooms"],
    }  # fmt: skip
    assert json.loads(to_json(shown)) == shown
    assert row_as_dict(Project("j1", end_date=0))["end_date"] == "1970-01-01T00:00:00Z"


@pytest.mark.parametrize("size", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_does_not_know_is_left_out(size: float) -> None:
    assert row_as_dict(Premise("p1", size=size)) == {"ext_id": "p1"}


STEERING = ["\x1b[2J", "\x07", "\r", "\x7f", "\x9b2J", "\u202e", "\u2066", "\x00"]


@pytest.mark.parametrize("text", STEERING)
def test_nothing_from_outside_steers_a_terminal(text: str) -> None:
    assert text[0] not in shown(f"a{text}b")
    line = to_json({f"k{text}": text})
    assert text[0] not in line
    assert json.loads(line) == {f"k{text}": text}


@pytest.mark.parametrize("text", ["[red]x", "[/]", "[link=http://a]b[/link]", "\\[red]", "[[x]]", ":smile:"])
def test_markup_from_outside_is_shown_as_it_is(text: str) -> None:
    out = io.StringIO()
    Console(file=out, width=80, emoji=False, highlight=False).print(f"[dim]key[/] {shown(text)}|")
    assert out.getvalue() == f"key {text}|\n"


def test_states_are_plain() -> None:
    state = LEADS.blank("l1")._replace(fee=Decimal("1.50"), version=2, changed_at=1)
    expected = {"ext_id": "l1", "version": 2, "changed_at": "1970-01-01T00:00:00.000001Z", "fee": "1.50"}
    assert state_as_dict(LEADS, state) == expected


def test_personal_data_is_masked_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LEADS, "personal", frozenset({"client_ext_id"}))
    state = LEADS.blank("l1")._replace(client_ext_id="+79991234567")
    assert state_as_dict(LEADS, state)["client_ext_id"] == "••••••••67"
    assert state_as_dict(LEADS, state, personal=True)["client_ext_id"] == "+79991234567"
    said = Said(
        Lead("l1", client_ext_id="+79991234567"),
        read_headers([], timestamp_ms=0, topic="t", partition=0, offset=0),
        0,
        0,
        0,
    )
    (entry,) = timeline(evolve_by(LEADS), [said])
    assert "+79991234567" not in to_json(entry_as_dict(LEADS, entry))
    assert entry_as_dict(LEADS, entry, personal=True)["changed"] == {"client_ext_id": [None, "+79991234567"]}


def test_a_line_of_a_timeline() -> None:
    meta = read_headers(
        [("ce_id", b"e1"), ("ce_source", b"brusnika")], timestamp_ms=1, topic="estate.lead", partition=3, offset=4
    )
    said = Said(Lead("l1", 1, fee=Decimal("0.10"), state=LeadState.ACTIVE), meta, 1_000, 3, 4)
    (entry,) = timeline(evolve_by(LEADS), [said])
    shown = entry_as_dict(LEADS, entry)
    assert json.loads(to_json(shown)) == {
        "time": "1970-01-01T00:00:00.001000Z",
        "record": "Lead",
        "source": "brusnika",
        "id": "e1",
        "partition": 3,
        "offset": 4,
        "verdict": "applied",
        "changed": {"fee": [None, "0.10"], "state": [None, "ACTIVE"]},
        "version": 1,
    }


ADDRESS = "http://registry-of-a-long-name.example:28081/apis/ccompat/v7"


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **env: str) -> str:
    monkeypatch.delenv("COLUMNS", raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    table = grid("service", "address", "number")
    table.add_row("registry", ADDRESS, "4711")
    put(table, "number")
    return capsys.readouterr().out


def test_what_is_piped_is_one_line_a_row_and_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    header, row = printed(monkeypatch, capsys).splitlines()
    assert header.split() == ["service", "address", "number"]
    assert row.split() == ["registry", ADDRESS, "4711"]


@pytest.mark.parametrize("columns", [30, 60])
def test_what_a_narrow_terminal_can_not_hold_is_folded_never_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    lines = printed(monkeypatch, capsys, COLUMNS=str(columns)).splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in "".join(lines)
    start, end = lines[0].index("address"), lines[0].index("number")
    assert "".join(line[start:end].strip() for line in lines[1:]) == ADDRESS
