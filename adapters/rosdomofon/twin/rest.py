"""The operator's REST without faults: paths, bodies and Spring pages (docs/contracts/rosdomofon.md#rest)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

from pydantic import ValidationError

from adapters.rosdomofon.twin.operator import Operator, OperatorError
from adapters.rosdomofon.twin.requests import NewAccount, NewConnection, NewFlat, NewMessage, SignUpChange, Taken
from adapters.twin_kit.bodies import problems

R = TypeVar("R", bound=Taken)
V1: Final = "/abonents-service/api/v1"
V2: Final = "/abonents-service/api/v2"
MOST_PER_PAGE: Final = 200


class Call(NamedTuple):
    """A parsed request: parameters of the path, query and body."""

    path: dict[str, Any]
    query: dict[str, str]
    body: Any

    def read(self, model: type[R]) -> R:
        """Return the body as a model. Raises OperatorError 422 if it is invalid."""
        try:
            return model.model_validate(self.body)
        except ValidationError as error:
            problem = problems(error)
        raise OperatorError(422, problem)


class Rest:
    """The calls of the operator's REST.

    ``routes``: handler by method and path; a handler returns the document of the answer, None for 200 without a body,
    and raises OperatorError for 4xx.
    """

    def __init__(self, operator: Operator) -> None:
        self._of, self._store = operator, operator.store
        self.routes: dict[tuple[str, str], Callable[[Call], Any]] = {
            ("GET", f"{V1}/accounts"): lambda call: [self._of.account(a) for a in self._store.all("account")],
            ("POST", f"{V1}/accounts"): self.create_account,
            ("GET", f"{V1}/accounts/{{id:int}}"): self.account,
            ("GET", f"{V1}/accounts/{{id:int}}/flats"): self.account_flats,
            ("GET", f"{V1}/accounts/{{id:int}}/connections"): self.account_connections,
            ("PUT", f"{V1}/accounts/{{number}}/block"): lambda call: self._of.block_account(call.path["number"], True),
            ("DELETE", f"{V1}/accounts/{{number}}/block"): lambda call: self._of.block_account(
                call.path["number"], False
            ),
            ("POST", f"{V1}/flats"): self.create_flat,
            ("GET", f"{V1}/entrances"): self.entrances,
            ("GET", f"{V1}/entrances/{{id:int}}/services"): self.entrance_services,
            ("GET", f"{V1}/services"): self.services,
            ("GET", f"{V1}/services/{{id:int}}/connections"): self.service_connections,
            ("POST", f"{V1}/services/{{id:int}}/connections"): self.connect,
            ("PUT", f"{V1}/services_connections/{{id:int}}/block"): lambda call: self._of.block_connection(
                call.path["id"], True
            ),
            ("DELETE", f"{V1}/services_connections/{{id:int}}/block"): lambda call: self._of.block_connection(
                call.path["id"], False
            ),
            ("POST", f"{V1}/messages"): self.send,
            ("GET", f"{V1}/abonents/{{id:int}}/messages"): self.messages,
            ("PATCH", f"{V2}/sign_ups/{{id:int}}"): self.change_sign_up,
        }

    def create_account(self, call: Call) -> Any:
        """Answer ``POST /accounts``. Raises OperatorError 422."""
        body = call.read(NewAccount)
        return self._of.create_account(body.number, body.phone)

    def account(self, call: Call) -> Any:
        """Answer one account, with the fields that lists leave out. Raises OperatorError 404."""
        doc = self._of.need_account(call.path["id"])
        balance = {"accountId": doc["id"], "balance": 1500.5, "balanceDate": self._of.now_ms(), "currency": "RUB"}
        connections = [_within_account(connection) for connection in self.account_connections(call)]
        return {
            **self._of.account(doc),
            "balance": {**balance, "isPaymentAvailable": True, "showBanner": False},
            "connections": connections,
            "invoice": None,
            "recurringPayment": None,
            "paidUntil": None,
        }

    def account_flats(self, call: Call) -> Any:
        """Answer the flats of an account. Raises OperatorError 404."""
        account = self._of.need_account(call.path["id"])
        return [self._of.flat(flat) for flat in self._store.all("flat", accountId=account["id"])]

    def account_connections(self, call: Call) -> Any:
        """Answer the connections of an account. Raises OperatorError 404."""
        account = self._of.need_account(call.path["id"])
        return [self._of.connection(c) for c in self._store.all("connection", accountId=account["id"])]

    def create_flat(self, call: Call) -> Any:
        """Answer ``POST /flats``. Raises OperatorError 404 or 422."""
        body = call.read(NewFlat)
        return self._of.create_flat(body.entrance_id, body.flat_number, body.abonent_id, body.virtual)

    def entrances(self, call: Call) -> Any:
        """Answer a page of the entrances whose address contains the query's text."""
        shown = [self._of.entrance(doc) for doc in self._store.all("entrance")]
        sought = call.query.get("address", "").casefold()
        return page([one for one in shown if sought in one["addressString"].casefold()], call.query)

    def entrance_services(self, call: Call) -> Any:
        """Answer the services of an entrance. Raises OperatorError 404."""
        found = self._store.get("entrance", call.path["id"])
        if found is None:
            raise OperatorError(404, "entrance not found")
        return self._of.services(found)

    def services(self, call: Call) -> Any:
        """Answer a page of all services."""
        shown = [{n: one[n] for n in ("id", "name", "type")} for one in self._store.all("service")]
        return page(shown, call.query)

    def service_connections(self, call: Call) -> Any:
        """Answer the connections of a service."""
        return [self._of.connection(c) for c in self._store.all("connection", serviceId=call.path["id"])]

    def connect(self, call: Call) -> Any:
        """Answer ``POST /services/{id}/connections``. Raises OperatorError 404 or 422."""
        body = call.read(NewConnection)
        return self._of.connect(call.path["id"], body.flat_id, body.account_id)

    def send(self, call: Call) -> Any:
        """Answer ``POST /messages``. Raises OperatorError 422."""
        body = call.read(NewMessage)
        return self._of.send([a.model_dump() for a in body.to_abonents], body.channel, body.message)

    def messages(self, call: Call) -> Any:
        """Answer a page of an abonent's messages, the newest first."""
        channel, values = call.query.get("channel"), [call.path["id"]]
        also = " AND channel = ?" if channel else ""
        sql = f"SELECT * FROM messages WHERE abonent_id = ?{also} ORDER BY id DESC"  # noqa: S608
        rows = self._store.rows(sql, *values, *([channel] if channel else []))
        shown = [
            {
                "id": row["id"],
                "abonent": {"id": row["abonent_id"], "phone": row["phone"]},
                "channel": row["channel"],
                "incoming": bool(row["incoming"]),
                "message": row["message"],
                "messageDate": _iso(row["at_ms"]),
            }
            for row in rows
        ]
        return page(shown, call.query)

    def change_sign_up(self, call: Call) -> Any:
        """Answer ``PATCH …/v2/sign_ups/{id}``. Raises OperatorError 404 or 422."""
        changes = call.read(SignUpChange).model_dump(by_alias=True, exclude_none=True)
        if "isVirtual" in changes:
            changes["virtual"] = changes.pop("isVirtual")
        self._of.change_sign_up(call.path["id"], changes)


def page(items: list[Any], query: dict[str, str]) -> dict[str, Any]:
    """Return a Spring page of the items; an invalid number or size counts as 0 and 20, as in Spring."""
    number_text, size_text = query.get("page", "0"), query.get("size", "20")
    number = int(number_text) if number_text.isdecimal() and len(number_text) < 9 else 0
    size = int(size_text) if size_text.isdecimal() and len(size_text) < 9 else 20
    size = min(max(size, 1), MOST_PER_PAGE)
    content, pages = items[number * size : (number + 1) * size], -(-len(items) // size)
    sort = {"sorted": False, "unsorted": True}
    place = {"offset": number * size, "pageNumber": number, "pageSize": size, "paged": True, "unpaged": False}
    return {
        "content": content,
        "empty": not content,
        "first": number == 0,
        "last": number >= pages - 1,
        "number": number,
        "numberOfElements": len(content),
        "pageable": {**place, "sort": sort},
        "size": size,
        "sort": sort,
        "totalElements": len(items),
        "totalPages": pages,
    }


def _within_account(connection: dict[str, Any]) -> dict[str, Any]:
    """Returns a connection without the account's own fields; here a service's time is text without a zone."""
    flat = {n: v for n, v in connection["flat"].items() if n != "accountId"}
    service = {**connection["service"], "createdAt": _iso(connection["service"]["createdAt"])[:19]}
    return {**{n: v for n, v in connection.items() if n != "account"}, "flat": flat, "service": service}


def _iso(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}+0000"
