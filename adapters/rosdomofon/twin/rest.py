"""The operator's REST as it answers, without what can go wrong: paths, bodies and Spring's pages
(docs/contracts/rosdomofon.md#rest)."""

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
    """One request, read: what its path names, its query, its body."""

    path: dict[str, Any]
    query: dict[str, str]
    body: Any

    def read(self, model: type[R]) -> R:
        """The body. Raises OperatorError 422."""
        try:
            return model.model_validate(self.body)
        except ValidationError as error:
            problem = problems(error)
        raise OperatorError(422, problem)


class Rest:
    """``routes``: method and path of every call, and what answers it (None: 200 without a body)."""

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
        asked = call.read(NewAccount)
        return self._of.create_account(asked.number, asked.phone)

    def account(self, call: Call) -> Any:
        """With all that a list leaves out."""
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
        account = self._of.need_account(call.path["id"])
        return [self._of.flat(flat) for flat in self._store.all("flat", accountId=account["id"])]

    def account_connections(self, call: Call) -> Any:
        account = self._of.need_account(call.path["id"])
        return [self._of.connection(c) for c in self._store.all("connection", accountId=account["id"])]

    def create_flat(self, call: Call) -> Any:
        asked = call.read(NewFlat)
        return self._of.create_flat(asked.entrance_id, asked.flat_number, asked.abonent_id, asked.virtual)

    def entrances(self, call: Call) -> Any:
        shown = [self._of.entrance(doc) for doc in self._store.all("entrance")]
        sought = call.query.get("address", "").casefold()
        return page([one for one in shown if sought in one["addressString"].casefold()], call.query)

    def entrance_services(self, call: Call) -> Any:
        found = self._store.get("entrance", call.path["id"])
        if found is None:
            raise OperatorError(404, "entrance not found")
        return self._of.services(found)

    def services(self, call: Call) -> Any:
        shown = [{n: one[n] for n in ("id", "name", "type")} for one in self._store.all("service")]
        return page(shown, call.query)

    def service_connections(self, call: Call) -> Any:
        return [self._of.connection(c) for c in self._store.all("connection", serviceId=call.path["id"])]

    def connect(self, call: Call) -> Any:
        asked = call.read(NewConnection)
        return self._of.connect(call.path["id"], asked.flat_id, asked.account_id)

    def send(self, call: Call) -> Any:
        asked = call.read(NewMessage)
        return self._of.send([a.model_dump() for a in asked.to_abonents], asked.channel, asked.message)

    def messages(self, call: Call) -> Any:
        """The newest first."""
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
        changes = call.read(SignUpChange).model_dump(by_alias=True, exclude_none=True)
        if "isVirtual" in changes:
            changes["virtual"] = changes.pop("isVirtual")
        self._of.change_sign_up(call.path["id"], changes)


def page(items: list[Any], query: dict[str, str]) -> dict[str, Any]:
    """A page of Spring."""
    asked_number, asked_size = query.get("page", "0"), query.get("size", "20")
    number = int(asked_number) if asked_number.isdecimal() and len(asked_number) < 9 else 0
    size = int(asked_size) if asked_size.isdecimal() and len(asked_size) < 9 else 20
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
    """Without what the account says itself; here a service's moment is text without a zone (specs)."""
    flat = {n: v for n, v in connection["flat"].items() if n != "accountId"}
    service = {**connection["service"], "createdAt": _iso(connection["service"]["createdAt"])[:19]}
    return {**{n: v for n, v in connection.items() if n != "account"}, "flat": flat, "service": service}


def _iso(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}+0000"
