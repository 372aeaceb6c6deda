"""Requests under an Idempotency-Key: one aggregate a domain, whose key is the Idempotency-Key.

    REQUESTS = keyed_requests("estate.request", AskVisit, CancelVisit)     the commands that may be asked for
    Domain("estate", (REQUESTS.aggregate, Aggregate("estate.visit", decide=REQUESTS.answering(decide_visit)), …))

The first request of a key is passed on as its command, which carries the key in ``request``. The aggregate that replies
to that command also answers the request; a repeat finds the answer in the request's state. In `schemas` the domain
calls `requests_on`; the gateway asks with `streams.query.requester`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from schemas.commands import CommandOutcome
from schemas.errors import InvalidInput
from schemas.record import SEQUENCE, UNSET, contract
from schemas.requests import OWN, KeyedRequest, RequestAccepted, RequestAnswered, command_of
from streams.aggregate import Accepted, Aggregate, Cause, Decide, Outgoing, Rejected
from tables.layout import State

ANSWERED: Final = 2
"""Version of a request's state that has its answer: accepted is 1."""
Result = Callable[[State | None, Any, Accepted], Mapping[str, Any] | None]
"""Function ``result(before, command, accepted)`` that returns fields of the answer; None: a reaction to the events
answers."""


def subject_of(before: State | None, command: Any, accepted: Accepted) -> dict[str, Any]:
    """Returns the usual answer: the id of the thing that was made, else of the thing that the command was sent to."""
    of = contract(type(command))
    return {"subject": accepted.subject or command[of.fields.index(of.key)]}


@dataclass(frozen=True, eq=False)
class Requests:
    """The requests of a domain; `keyed_requests` makes them of the common records."""

    topic: str
    accepted: type[Any]
    """Record class of the event that a request has begun; it takes the fields that it shares with the request."""
    answered: type[Any]
    """Record class of the answer: outcome, code, reason, and the fields of a `Result`."""
    asked: Callable[[Any], Any]
    """Returns the command that a request is for, without id and key, or Rejected; nothing has begun then."""

    @cached_property
    def aggregate(self) -> Aggregate:
        return Aggregate(self.topic, decide=self.decide)

    def decide(self, before: State | None, request: Any, cause: Cause) -> Accepted | Rejected:
        """Pass a command on if its key is new; the answer to a repeat stands, or will stand, in the state."""
        if before is not None:
            if before.fingerprint == request.fingerprint:
                return Accepted([])
            return Rejected("idempotency_key_reused", "this Idempotency-Key was used for another request")
        command = self.asked(request)
        if isinstance(command, Rejected):
            return command
        # Under the request's own id: the aggregate that decides it replies, once, to the request's sender.
        command = command._replace(command_id=request.command_id or cause.id(0), request=request.ext_id)
        shared = (set(self.accepted._fields) & set(request._fields)) - {SEQUENCE, UNSET}
        begun = self.accepted(**{name: getattr(request, name) for name in shared})
        return Accepted([begun], tell=[Outgoing(contract(type(command)).topics[0], command)], replies=False)

    def answering(self, decide: Decide, result: Result = subject_of) -> Decide:
        """Returns ``decide`` that also answers the request whose key a command carries, unless it leaves the reply to
        another aggregate, which then has the key."""

        def decide_and_answer(before: State | None, command: Any, cause: Cause) -> Any:
            verdict = decide(before, command, cause)
            if not (request := getattr(command, "request", None)):
                return verdict
            if isinstance(verdict, Rejected):
                why = {"code": verdict.code, "reason": verdict.reason}
                answer = self.answer(request, CommandOutcome.REJECTED, why)
                return verdict._replace(tell=[*verdict.tell, answer])
            accepted = verdict if isinstance(verdict, Accepted) else Accepted(verdict)
            if not accepted.replies or (fields := result(before, command, accepted)) is None:
                return accepted
            answer = self.answer(request, CommandOutcome.ACCEPTED, fields)
            return accepted._replace(tell=[*accepted.tell, answer])

        return decide_and_answer

    def answer(self, request: str, outcome: CommandOutcome, fields: Mapping[str, Any]) -> Outgoing:
        """Returns the record that answers a request, by its key."""
        return Outgoing(self.topic, self.answered(request, outcome=outcome, **fields))


def keyed_requests(topic: str, *commands: type[Any]) -> Requests:
    """Returns the requests of a domain for these commands. Raises TypeError for one that lacks a field of `OWN`."""
    for cls in commands:
        if missing := [name for name in OWN if name not in contract(cls).fields]:
            raise TypeError(f"{cls.__name__}: expected the fields {', '.join(OWN)}, came none named {missing[0]}")

    def asked(request: KeyedRequest) -> Any:
        try:
            return command_of(request, commands)
        except InvalidInput as error:
            return Rejected("invalid_request", error.message)

    return Requests(topic, RequestAccepted, RequestAnswered, asked)


def fingerprint(operation: str, subject: int | str | None, fields: Mapping[str, Any]) -> str:
    """Returns the hash of a request: the same for any order of its fields."""
    said = json.dumps([operation, subject, sorted(fields.items())], ensure_ascii=True)
    return hashlib.sha256(said.encode()).hexdigest()
