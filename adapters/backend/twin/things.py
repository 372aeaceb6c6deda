"""The rules by which the main backend takes or refuses a thing. Source: docs/contracts/brusnika.md#queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapters.backend.twin.store import BackendStore

TYPES: Final = (
    *("project", "building", "section", "premise", "client", "lead"),
    *("lead-ops", "user", "booking", "visit", "task", "agency"),
)
"""Types by their paths."""
SINGLE_ONLY: Final = ("client", "booking", "visit")
NEEDS: Final[Mapping[str, Mapping[str, str]]] = {
    "building": {"project_ext_id": "project"},
    "section": {"building_ext_id": "building"},
    "premise": {"building_ext_id": "building", "section_ext_id": "section"},
    "lead": {"client_ext_id": "client", "agent_ext_id": "user", "premise_ext_id": "premise"},
    "lead-ops": {"lead_ext_id": "lead"},
    "user": {"agency_ext_id": "agency"},
    "task": {
        "manager_ext_id": "user",
        "created_by_ext_id": "user",
        "client_ext_id": "client",
        "project_ext_id": "project",
        "lead_ext_id": "lead",
    },
}
"""Types by field that must be there. Cities are all known: there is no path for them."""
PROMPTS: Final = {
    "project": 403, "building": 404, "section": 405, "premise": 406, "client": 407, "user": 408, "lead": 409,
    "agency": 410,
}  # fmt: skip
"""Ids of prompts for an unknown parent; the numbers of single types are not public."""
IDS: Final[Mapping[str, tuple[str, ...]]] = {
    "booking": ("booking_ext_id", "ext_id"),
    "visit": ("visit_ext_id", "ext_id"),
    "client": ("phone_number", "ext_id"),
    "agency": ("inn", "ext_id"),
}
"""Fields by which a thing is found again, where they are not ``ext_id``."""
LONGEST_NAME: Final = 255


class Refused(Exception):
    """The answer to a thing that is not taken: a status with the backend's error object."""

    def __init__(self, status: int, prompt: int, text: str) -> None:
        self.status, self.prompt, self.text = status, prompt, text
        super().__init__(text)

    def body(self) -> dict[str, Any]:
        """Return the error object."""
        labels = dict.fromkeys(("en", "ru", "uz"), self.text)
        prompt = {"id": self.prompt, "labels": labels, "meta": {"message": self.text}, "status": self.status}
        return {"meta": {"type": "error", "params": {}, "prompt": prompt}, "data": None}


class Things:
    """The things of a backend, written one by one."""

    def __init__(self, store: BackendStore) -> None:
        self._store = store

    def take(self, type: str, thing: Any) -> None:
        """Write a thing. Raises Refused: 404 for an unknown parent, 422 for a field, 500 for the database."""
        if not isinstance(thing, dict):
            raise Refused(422, 422, "Validation failed: an object is expected")
        id = _id(type, thing)
        name = thing.get("name")
        if isinstance(name, str) and len(name) > LONGEST_NAME:
            raise Refused(500, 500, f"value too long for type character varying({LONGEST_NAME})")
        for field, parent in NEEDS.get(type, {}).items():
            if (ext_id := thing.get(field)) is not None and not self._knows(parent, str(ext_id)):
                raise Refused(404, PROMPTS[parent], f"{parent} not found")
        agent = thing.get("agent_ext_id") if type == "client" else None
        if agent is not None and not self._knows("user", str(agent)):
            return  # the original only logs it: the client is lost
        self._store.put(type, id, thing)

    def _knows(self, type: str, ext_id: str) -> bool:
        if type not in IDS:
            return self._store.get(type, ext_id) is not None
        sql = "SELECT 1 FROM things WHERE type = ? AND json_extract(doc, '$.ext_id') = ?"
        return self._store.row(sql, type, ext_id) is not None


def _id(type: str, thing: dict[str, Any]) -> str:
    if type == "lead-ops":  # a repeated status of a lead only moves its date
        lead, status = thing.get("lead_ext_id"), thing.get("status")
        if isinstance(lead, str | int) and isinstance(status, str):
            return f"{lead}/{status}"
        raise Refused(422, 422, "Validation failed: lead_ext_id, status")
    names = IDS.get(type, ("ext_id",))
    for name in names:
        if isinstance(id := thing.get(name), str | int) and id != "":
            return str(id)
    raise Refused(422, 422, f"Validation failed: {names[0]}")
