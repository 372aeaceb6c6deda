"""The order of the numbered log, from every order in which changes may come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from schemas.backend import BackendChange
from streams.backend_log.parents_first import Held, ParentsFirst

WAIT = 60_000


class Memory:
    """What the writer keeps of the batches that were committed."""

    def __init__(self) -> None:
        self.written: set[str] = set()
        self.held: dict[int, Held] = {}

    def order(self, most: int = 5_000) -> ParentsFirst:
        return ParentsFirst(self.written.__contains__, sorted(self.held.values()), wait_ms=WAIT, most=most)

    def commit(self, order: ParentsFirst) -> None:
        effects = order.effects()
        assert not self.written & set(effects.written)
        assert set(effects.gone) <= self.held.keys()
        assert not {held.number for held in effects.held} & self.held.keys()
        self.written |= set(effects.written)
        self.held |= {held.number: held for held in effects.held}
        for number in effects.gone:
            del self.held[number]
        order.settle()


def change(subject: str, *parents: str, to: Sequence[str] = (), frame: str = "{}") -> BackendChange:
    return BackendChange(subject, subject.partition("/")[0], subject.partition("/")[2], frame, parents, tuple(to))


def subjects(released: Sequence[Held]) -> list[str]:
    return [held.change.subject for held in released]


def test_a_child_waits_for_its_parent_and_goes_behind_it() -> None:
    order = ParentsFirst(lambda _: False, wait_ms=WAIT)
    assert order.take(change("premise/1", "building/1", "section/1"), 0) == []
    assert order.take(change("section/1", "building/1"), 1) == []
    assert subjects(order.take(change("building/1"), 2)) == ["building/1", "section/1", "premise/1"]
    assert len(order) == 0


def test_a_parent_is_waited_for_for_ever_a_reference_is_not() -> None:
    order = ParentsFirst(lambda _: False, wait_ms=WAIT)
    assert order.take(change("lead/1", to=["user/1"]), 5) == []
    assert order.take(change("lead_op/1", "lead/1"), 6) == []
    assert order.expire(5 + WAIT - 1) == []
    assert subjects(order.expire(5 + WAIT)) == ["lead/1", "lead_op/1"]
    assert order.sent_without == 1
    assert order.take(change("premise/1", "building/1"), 0) == []
    assert order.expire(10**15) == []
    assert order.oldest_ms == 0


def test_a_reference_that_comes_ends_the_wait() -> None:
    order = ParentsFirst(lambda _: False, wait_ms=WAIT)
    assert order.take(change("lead/1", to=["user/1", "client/1"]), 0) == []
    assert subjects(order.take(change("user/1"), 1)) == ["user/1"]
    assert subjects(order.take(change("client/1"), 1)) == ["client/1", "lead/1"]
    assert order.sent_without == 0
    assert order.expire(10**15) == []


def test_later_changes_of_a_subject_wait_behind_the_first() -> None:
    order = ParentsFirst({"building/2"}.__contains__, wait_ms=WAIT)
    assert order.take(change("premise/1", "building/1", frame="1"), 0) == []
    assert order.take(change("premise/1", "building/2", frame="2"), 0) == []
    came = order.take(change("building/1"), 1)
    assert [held.change.frame for held in came] == ["{}", "1", "2"]


def test_a_release_sends_all_of_a_subject_and_what_waits_for_it() -> None:
    order = ParentsFirst(lambda _: False, wait_ms=WAIT)
    for one in (
        change("building/1", "project/1"),
        change("building/1", "project/1"),
        change("premise/1", "building/1"),
    ):
        assert order.take(one, 0) == []
    assert subjects(order.release("building/1", 1)) == ["building/1", "building/1", "premise/1"]
    assert (len(order), order.sent_without) == (0, 2)
    assert order.release("building/1", 1) == []


def test_a_thing_that_names_itself_waits_for_nothing() -> None:
    order = ParentsFirst(lambda _: False, wait_ms=WAIT)
    assert subjects(order.take(change("task/1", "task/1"), 0)) == ["task/1"]


def test_a_cascade_goes_in_several_batches_and_survives_a_kill_between_them() -> None:
    memory, log = Memory(), list[str]()
    order = memory.order(most=3)
    held = [change(f"premise/{n}", "building/1") for n in range(7)]
    assert [order.take(one, 0) for one in held] == [[]] * 7
    log += subjects(order.take(change("building/1"), 0))
    memory.commit(order)
    assert log == ["building/1", "premise/0", "premise/1", "premise/2"]
    order = memory.order(most=3)
    log += subjects(order.expire(1))
    memory.commit(order)
    log += subjects(order.expire(1))
    memory.commit(order)
    assert log == ["building/1", *(f"premise/{n}" for n in range(7))]
    assert (len(order), memory.held) == (0, {})


def test_what_is_held_and_goes_within_a_batch_is_not_for_memory() -> None:
    order = ParentsFirst(lambda _: False, wait_ms=WAIT)
    order.take(change("premise/1", "building/1"), 0)
    order.take(change("building/1"), 0)
    assert order.effects() == (("building/1", "premise/1"), (), ())


PARENTS = {"city": (), "project": ("city",), "building": ("project",), "section": ("building",)}


@st.composite
def histories(draw: st.DrawFn) -> list[BackendChange]:
    """Changes of a few things of each type, every parent among them, in any order."""
    kinds = {**PARENTS, "premise": ("building", "section")}
    things = [
        (kind, n, tuple(f"{parent}/{draw(st.integers(1, 2))}" for parent in parents))
        for kind, parents in kinds.items()
        for n in (1, 2)
    ]
    changes = [
        change(f"{kind}/{n}", *parents, to=draw(st.sampled_from([(), ("user/1",)])), frame=str(i))
        for kind, n, parents in things
        for i in range(draw(st.integers(1, 2)))
    ]
    changes += [change("user/1")] * draw(st.integers(0, 1))
    shuffled = draw(st.permutations(changes))
    frames: dict[str, int] = defaultdict(int)
    numbered = []
    for one in shuffled:  # a key's changes come in their order
        numbered.append(one._replace(frame=str(frames[one.subject])))
        frames[one.subject] += 1
    return numbered


@given(histories(), st.data())
def test_any_interleaving_ends_in_one_order_with_parents_first(
    changes: list[BackendChange], data: st.DataObject
) -> None:
    """Batches are cut anywhere; after any of them the writer may be killed, before its commit or after it."""
    memory, log, now, at = Memory(), list[BackendChange](), 0, 0
    most = data.draw(st.sampled_from([1, 3, 5_000]))
    order = memory.order(most)
    while at < len(changes):
        size = data.draw(st.integers(1, 6))
        now += data.draw(st.sampled_from([0, 1, WAIT]))
        out = [held for one in changes[at : at + size] for held in order.take(one, now)] + order.expire(now)
        fate = data.draw(st.sampled_from(["committed", "committed", "restarted", "lost"]))
        if fate != "lost":
            memory.commit(order)
            log += [held.change for held in out]
            at += size
        if fate != "committed":
            order = memory.order(most)
    for _ in range(len(changes)):
        log += [held.change for held in order.expire(now + WAIT)]
        memory.commit(order)
    assert (len(order), memory.held) == (0, {})
    assert sorted(log) == sorted(changes)
    seen: dict[str, int] = defaultdict(int)
    for one in log:
        assert all(seen[parent] for parent in one.parents), one
        assert int(one.frame) == seen[one.subject] if one.subject != "user/1" else True
        seen[one.subject] += 1
