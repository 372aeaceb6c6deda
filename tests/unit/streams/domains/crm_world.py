"""The domain of the Core users without Kafka, and commands for it."""

from __future__ import annotations

from collections import deque
from typing import Any

from schemas.bitrix24 import CardCommand, CardReceipt
from schemas.crm import (
    DIRECTORY,
    AddUser,
    BeginRequest,
    UserOperation,
)
from schemas.record import SEQUENCE, contract
from streams.aggregate import Accepted, Aggregate, Cause, Outgoing, Rejected
from streams.domains.crm import CARDS, CRM
from tables.layout import State

CAUSE = Cause("crm.user.commands", 0, 0, 1)

IVAN = {"full_name": "Иван Иванов", "phone": "+77001112233", "stage": "NEW"}
"""The example of docs/contracts/core-users.md#http-api."""


class World:
    """The whole domain without Kafka: what the lane does with a command, as `streams.lane.batch` does it."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, str], State] = {}
        self.told: list[Outgoing] = []
        self.history: list[tuple[str, Any]] = []
        self._offset = 0

    def send(self, command: Any) -> Accepted | Rejected:
        """Carry a command out, and all that follows from it; the verdict on it."""
        aggregate = CRM.by_topic[contract(type(command)).topics[0]]
        verdicts = []
        work: deque[tuple[Aggregate, Any]] = deque([(aggregate, command)])
        while work:
            aggregate, row = work.popleft()
            if contract(type(row)).topics[0].endswith(".commands"):
                verdict, outgoing = self._decide(aggregate, row)
                verdicts.append(verdict)
            else:
                outgoing = self._fold(aggregate, row)
            for out in outgoing:
                if out.topic in CRM.by_topic:
                    work.append((CRM.by_topic[out.topic], out.row))
                else:
                    self.told.append(out)
        return verdicts[0]

    def _decide(self, aggregate: Aggregate, command: Any) -> tuple[Accepted | Rejected, list[Outgoing]]:
        assert aggregate.decide is not None
        before = self.states.get((aggregate.topic, command[0]))
        verdict: Any = aggregate.decide(before, command, self._cause())
        outgoing = list(verdict.tell)
        for event in verdict.events if isinstance(verdict, Accepted) else ():
            state = self.states.get((aggregate.topic, command[0]))
            number = 1 if state is None else (state.update_id or 0) + 1
            outgoing += self._fold(aggregate, event._replace(**{SEQUENCE: number}))
        return verdict, outgoing

    def _fold(self, aggregate: Aggregate, event: Any) -> list[Outgoing]:
        self.history.append((aggregate.topic, event))
        place = (aggregate.topic, event[0])
        before = self.states.get(place)
        after = aggregate.evolve(before, event, 1)
        if after is before:
            return []
        self.states[place] = after
        return list(aggregate.react(before, after, event, self._cause())) if aggregate.react else []

    def _cause(self) -> Cause:
        self._offset += 1
        return Cause("t", 0, self._offset, 1)

    def user(self, id: int | str) -> State:
        return self.states["crm.user", str(id)]

    def cards(self) -> list[CardCommand]:
        return [out.row for out in self.told if out.topic == CARDS]


def receive(world: World, receipt: CardReceipt) -> None:
    world._fold(CRM.by_topic["crm.user"], receipt)


def add(**fields: Any) -> AddUser:
    return AddUser(DIRECTORY, "c", **{**IVAN, **fields})


def begin(key: str, operation: UserOperation = UserOperation.ADD, **fields: Any) -> BeginRequest:
    body = {**IVAN, **fields}
    return BeginRequest(key, "c", repr((operation, sorted(body.items()))), operation, **body)


def outcome(world: World, key: str) -> tuple[Any, ...]:
    state = world.states["crm.request", key]
    return state.outcome, state.code, state.user_id, state.phone
