"""The twin's operator: abonents, accounts, flats, services, connections, messages and sign-ups, and their rules."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

from adapters.rosdomofon.twin.store import Doc, OperatorStore

COMPANY: Final = {"id": 1292, "name": "ООО «Домофон Сервис»", "shortName": "SK_SB", "licenseeShort": None}
_FIRST: Final = {"abonent": 1_574_870, "account": 904_154, "flat": 842_554, "connection": 789, "sign_up": 566_836}
"""First ids of each kind, as in the published samples (docs/contracts/rosdomofon.md)."""


class OperatorError(Exception):
    """An answer of 4xx: ``{timestamp, status, error, message, path}``."""

    def __init__(self, status: int, message: str) -> None:
        self.status, self.message = status, message
        super().__init__(message)


class Operator:
    """The operator's state and rules. ``unreachable``: abonents that no message reaches (``success: false``)."""

    def __init__(self, store: OperatorStore, clock: Callable[[], float] = time.time) -> None:
        self.store, self._clock = store, clock
        self.unreachable: set[int] = set()

    def reset(self) -> None:
        """Delete everything but the entrances, the services and the records read from Kafka."""
        kept = [(kind, doc) for kind in ("entrance", "service") for doc in self.store.all(kind)]
        self.store.reset()
        for kind, doc in kept:
            self.store.put(kind, doc["id"], {name: value for name, value in doc.items() if name != "id"})
        self.unreachable.clear()

    def now_ms(self) -> int:
        """Return the time in milliseconds since the epoch."""
        return int(self._clock() * 1000)

    # Initial state.

    def add_entrance(self, entrance_id: int, address: Doc, services: list[Doc]) -> None:
        """Add an entrance and the services that can be connected in it."""
        with self.store.transaction():
            self.store.put("entrance", entrance_id, {"address": address, "serviceIds": [s["id"] for s in services]})
            for service in services:
                self.store.put("service", service["id"], {k: v for k, v in service.items() if k != "id"})

    def add_abonent(self, phone: int, abonent_id: int | None = None) -> int:
        """Add an abonent. Returns the id, which is that of the abonent with this phone if there is one."""
        known = self.store.all("abonent", phone=phone)
        if known:
            return int(known[0]["id"])
        id = self._next("abonent") if abonent_id is None else abonent_id
        self.store.put("abonent", id, {"phone": phone})
        return id

    # Accounts, flats and connections.

    def create_account(self, number: str, phone: int) -> Doc:
        """Add an account, and its owner if no abonent has the phone. Raises OperatorError 422 if the number exists."""
        with self.store.transaction():
            if self.store.all("account", number=number):
                raise OperatorError(422, "account number already exists")
            owner_id, id = self.add_abonent(phone), self._next("account")
            self.store.put("account", id, {"number": number, "ownerId": owner_id, "blocked": False})
            self._note("account created", str(id), {"number": number})
        return {"id": id, "owner": self.owner(owner_id)}

    def create_flat(self, entrance_id: int, flat_number: str, abonent_id: int | None, virtual: bool) -> Doc:
        """Add a flat to an entrance. Raises OperatorError 404 if the entrance or the abonent is unknown."""
        with self.store.transaction():
            entrance = self._need("entrance", entrance_id)
            if abonent_id is not None:
                self._need("abonent", abonent_id)
            number = int(flat_number) if flat_number.isdecimal() else None
            address, id = {**entrance["address"], "flat": number}, self._next("flat")
            doc = {"address": address, "entranceId": entrance_id, "ownerId": abonent_id, "virtual": virtual}
            self.store.put("flat", id, {**doc, "accountId": None, "blocked": False})
            self._note("flat created", str(id), {"entranceId": entrance_id, "flat": number})
        return {"id": id, "address": address, "owner": {"id": abonent_id} if abonent_id else None, "virtual": virtual}

    def connect(self, service_id: int, flat_id: int, account_id: int | None) -> Doc:
        """Connect a service to a flat. Raises OperatorError 404 if the service, flat or account is unknown."""
        with self.store.transaction():
            self._need("service", service_id)
            flat = self._need("flat", flat_id)
            if account_id is not None:
                self._need("account", account_id)
                self.store.put("flat", flat_id, {**flat, "accountId": account_id})
            id = self._next("connection")
            doc = {"serviceId": service_id, "flatId": flat_id, "accountId": account_id, "blocked": False}
            self.store.put("connection", id, doc)
            self._note("connected", str(id), doc)
        return {"id": id}

    def block_account(self, number: str, blocked: bool) -> None:
        """Set whether the account with this number is blocked. Raises OperatorError 404 if it is unknown."""
        with self.store.transaction():
            found = self.store.all("account", number=number)
            if not found:
                raise OperatorError(404, "account not found")
            reason = "company" if blocked else None
            self.store.put("account", found[0]["id"], {**found[0], "blocked": blocked, "blockReason": reason})
            self._note("account blocked" if blocked else "account unblocked", number, {})

    def block_connection(self, connection_id: int, blocked: bool) -> None:
        """Set whether a connection is blocked. Raises OperatorError 404 if it is unknown."""
        with self.store.transaction():
            doc = self._need("connection", connection_id)
            self.store.put("connection", connection_id, {**doc, "blocked": blocked})
            self._note("connection blocked" if blocked else "connection unblocked", str(connection_id), {})

    # Messages and sign-ups.

    def send(self, addressees: list[Doc], channel: str, message: str) -> list[Doc]:
        """Send a message by REST. Returns the result for each abonent."""
        results: list[Doc] = []
        with self.store.transaction():
            for id in dict.fromkeys(int(a["id"]) for a in addressees):
                abonent = self.store.get("abonent", id)
                if abonent is None or id in self.unreachable:
                    reason = "abonent not found" if abonent is None else "no push token"
                    results.append({"id": id, "success": False, "result": reason})
                    continue
                self.keep_message(id, abonent["phone"], channel, False, message, "rest")
                results.append({"id": id, "success": True, "result": ""})
        return results

    def keep_message(self, abonent_id: int, phone: int, channel: str, incoming: bool, message: str, via: str) -> int:
        """Add a message to an abonent's history. Returns its id. ``incoming``: from the abonent."""
        sql = "INSERT INTO messages VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
        values = (abonent_id, phone, channel, int(incoming), message, self.now_ms(), via)
        return self.store.add(sql, *values)

    def got(self, abonent_id: int) -> list[str]:
        """Return the texts that an abonent got from the company, in their order."""
        sql = "SELECT message FROM messages WHERE abonent_id = ? AND incoming = 0 ORDER BY id"
        return [row["message"] for row in self.store.rows(sql, abonent_id)]

    def change_sign_up(self, sign_up_id: int, changes: Doc) -> Doc:
        """Change fields of a sign-up. Returns it. Raises OperatorError 404 if it is unknown."""
        with self.store.transaction():
            doc = self._need("sign_up", sign_up_id)
            if "status" in changes:
                changes = {**changes, "status": changes["status"].upper()}
            self.store.put("sign_up", sign_up_id, {**doc, **changes})
            self._note("sign-up changed", str(sign_up_id), changes)
        return {**doc, **changes}

    def keep_sign_up(self, doc: Doc) -> Doc:
        """Store a sign-up. Returns it with its id, a new one if it has none."""
        id = int(doc["id"]) if "id" in doc else self._next("sign_up")
        self.store.put("sign_up", id, {k: v for k, v in doc.items() if k != "id"})
        return {"id": id, **doc}

    # Documents of answers.

    def owner(self, abonent_id: int | None) -> Doc | None:
        """Return an abonent as the owner of an account or a flat, None if there is none."""
        abonent = self.store.get("abonent", abonent_id) if abonent_id is not None else None
        return {"id": abonent["id"], "phone": abonent["phone"], "resolved": True} if abonent else None

    def account(self, doc: Doc) -> Doc:
        """Return an account as lists have it."""
        known = {n: doc.get(n) for n in ("id", "number", "termsOfUseLink", "blockReason", "blocked")}
        company = {n: COMPANY[n] for n in ("id", "shortName", "licenseeShort")}
        more: Doc = {"billingAvailable": False, "isCompanyRecurringEnabled": False}
        return {**known, **more, "owner": self.owner(doc["ownerId"]), "company": company}

    def flat(self, doc: Doc) -> Doc:
        """Return a flat."""
        known = {n: doc.get(n) for n in ("id", "accountId", "address", "virtual", "blocked")}
        return {**known, "owner": self.owner(doc.get("ownerId")), "adapters": [], "cameraId": None}

    def connection(self, doc: Doc) -> Doc:
        """Return a connection with its account, flat and service. Raises OperatorError 404 if one is missing."""
        account = self.store.get("account", doc["accountId"]) if doc["accountId"] is not None else None
        flat, tunings = self._need("flat", doc["flatId"]), {"limit": None}
        return {
            "id": doc["id"],
            "account": self.account(account) if account else None,
            "blocked": doc["blocked"],
            "currency": "RUB",
            "delegationTunings": tunings,
            "flat": {n: flat[n] for n in ("id", "accountId", "address", "virtual")},
            "service": {**self._need("service", doc["serviceId"]), "delegationTunings": tunings},
            "tariff": 150.0,
        }

    def need_account(self, account_id: int) -> Doc:
        """Return an account as it is stored. Raises OperatorError 404."""
        return self._need("account", account_id)

    def entrance(self, doc: Doc) -> Doc:
        """Return an entrance with its address as text and its services."""
        address = doc["address"]
        text = f"{address['city']}, {address['street']['name']}, {address['house']['number']}"
        text += f", подъезд {address['entrance']['number']}"
        return {"id": doc["id"], "addressString": text, "services": self.services(doc)}

    def services(self, entrance: Doc) -> list[Doc]:
        """Return the services of an entrance."""
        found = [self._need("service", id) for id in entrance["serviceIds"]]
        return [{n: v for n, v in one.items() if n != "createdAt"} for one in found]

    def _need(self, kind: str, id: Any) -> Doc:
        found = self.store.get(kind, id)
        if found is None:
            raise OperatorError(404, f"{kind} not found")
        return found

    def _next(self, kind: str) -> int:
        return self.store.next_id(kind, _FIRST[kind])

    def _note(self, what: str, subject: str, doc: Doc) -> None:
        sql, text = "INSERT INTO history VALUES (NULL, ?, ?, ?, ?)", json.dumps(doc, ensure_ascii=False)
        self.store.run(sql, self.now_ms(), what, subject, text)
