"""Only differences come out, and applied one after the other they give what the last file says."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from adapters.feeds.comparison import Known, Said, entry_of
from schemas.estate import Premise
from schemas.fields import ExtId, Text, Texts
from schemas.record import namespace
from tests.unit.adapters.feeds.lots import known_of

FIELDS = ("name", "size", "floor", "status")
VALUE: st.SearchStrategy[Any] = st.one_of(st.none(), st.integers(0, 2))
FILES = st.lists(st.dictionaries(st.sampled_from("abcd"), st.tuples(VALUE, VALUE, VALUE), max_size=4), max_size=5)


def row(key: str, values: tuple[Any, ...]) -> Premise:
    return Premise(key, **dict(zip(FIELDS, (*values, "FREE"), strict=True)))


def folded(state: dict[str, Any], difference: Premise) -> dict[str, Any]:
    """Create-to-update, as the fold does it."""
    said = {name: value for name, value in difference._asdict().items() if value is not None and name != "unset"}
    return {name: value for name, value in {**state, **said}.items() if name not in difference.unset}


@given(FILES)
def test_the_differences_of_all_files_give_what_the_last_one_says(files: list[dict[str, tuple[Any, ...]]]) -> None:
    entries: dict[str, bytes] = {}
    states: dict[str, dict[str, Any]] = {}
    for at, file in enumerate(files, start=1):
        known = known_of(entries)
        found = [known.take(row(key, values))[1] for key, values in file.items()]
        for difference in [*found, *known.gone(at)]:
            if difference is not None:
                premise: Any = difference.row
                entries[f"premise/{premise.ext_id}"] = difference.entry
                states[premise.ext_id] = folded(states.get(premise.ext_id, {}), premise)
        for key, state in states.items():
            if key in file:
                assert state == folded({}, row(key, file[key]))
            else:
                assert state["status"] == "TAKEN"
                assert state["gone_since"] <= at
                assert "is_sold" not in state
        again = known_of(entries)
        assert [again.take(row(key, values))[1] for key, values in file.items()] == [None] * len(file)
        assert list(again.gone(at + 1)) == []


def test_a_row_that_comes_twice_is_told_and_the_first_one_counts() -> None:
    known = Known()
    assert known.take(row("a", (1, 1, 1)))[0] is Said.NEW
    assert known.take(row("a", (2, 2, 2))) == (Said.TWICE, None)


def test_a_refused_row_is_not_gone() -> None:
    known = known_of({"premise/a": entry_of(row("a", (1, 1, 1)))})
    assert known.saw(Premise, "a") is Said.SAME
    assert known.saw(Premise, "a") is Said.TWICE
    assert (known.count(Premise), known.missing(Premise)) == (1, 0)
    assert list(known.gone(5)) == []


def test_what_returns_is_free_and_not_gone() -> None:
    before = entry_of(row("a", (1, 1, 1)))
    (gone,) = known_of({"premise/a": before}).gone(7)
    assert gone.row == Premise("a", status="TAKEN", gone_since=7)  # type: ignore[arg-type]
    said, back = known_of({"premise/a": gone.entry}).take(row("a", (1, None, 1)))
    assert said is Said.RETURNED
    assert back is not None
    assert back.row == row("a", (1, None, 1))._replace(unset=("size", "gone_since"))


def test_a_returned_object_of_a_list_without_a_status_is_free() -> None:
    (gone,) = known_of({"premise/a": entry_of(Premise("a", name="1"))}).gone(7)
    _, back = known_of({"premise/a": gone.entry}).take(Premise("a", name="1"))
    assert back is not None
    assert back.row == Premise("a", name="1", status="FREE", unset=("gone_since",))  # type: ignore[arg-type]


@given(st.text(max_size=3), st.text(max_size=3))
def test_other_values_have_other_entries(one: str, two: str) -> None:
    assert (entry_of(Premise("a", name=one)) == entry_of(Premise("a", name=two))) == (one == two)
    assert entry_of(Premise("a", name=one)) != entry_of(Premise("a", link=one))


def test_an_entry_does_not_depend_on_the_order_of_the_class() -> None:
    record = namespace("test_order")

    @record("test.order", key="ext_id", outside="one")
    class One(NamedTuple):
        ext_id: ExtId
        name: Text | None = None
        link: Text | None = None
        unset: Texts = ()

    @record("test.order", key="ext_id", outside="two")
    class Two(NamedTuple):
        ext_id: ExtId
        link: Text | None = None
        other: Text | None = None
        name: Text | None = None
        unset: Texts = ()

    assert entry_of(One("a", "n", "l")) == entry_of(Two("a", "l", None, "n"))
    assert entry_of(One("a", "n", "l")) != entry_of(Two("a", "n", None, "l"))
