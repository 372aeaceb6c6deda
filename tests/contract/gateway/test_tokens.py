"""Who may ask the gateway: no data without a token, and nothing that the token's scopes do not name."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from kounter.gateway.app import create_app
from kounter.gateway.reader import resources, statuses
from kounter.gateway.settings import GatewaySettings
from kounter.gateway.tokens import READ, WRITE_ESTATE, WRITE_USERS, Caller, StaticToken
from schemas.errors import CommandRejected, KounterError
from streams.aggregate import Domain
from streams.domains import DOMAINS
from streams.domains.crm import CRM
from streams.domains.estate import ESTATE
from tables.view import View
from tests.support.gateway import LocalReader, LocalUsers, application, client, leads, local_reader, put
from tests.support.gateway_answers import check_problem

LEADS = "/api/estate/leads"
TOKEN = "s3cret-ключ"
IVAN = {"full_name": "Иван", "phone": "+77001112233", "stage": "NEW"}


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[tuple[LocalReader, View]]:
    with local_reader(tmp_path) as parts:
        put(parts[1], "estate.lead", *leads(["l1"]))
        yield parts


def bearer(token: str) -> dict[str, Any]:
    return {"Authorization": f"Bearer {token}".encode()}


async def test_without_the_token_no_data(parts: tuple[LocalReader, View], monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    async with client(application(parts[0], TOKEN), base_url="http://kounter.example") as http:
        for path in (LEADS, f"{LEADS}/l1", f"{LEADS}/l1/timeline", f"{LEADS}/unknown", "/users", "/users/1"):
            for given in (None, "Bearer", "Bearer ", "Basic " + TOKEN, TOKEN):
                answer = await http.get(path, headers={} if given is None else {"Authorization": given.encode()})
                check_problem(answer, 401, "unauthorized")
                assert answer.headers["www-authenticate"].partition(",")[0] in (
                    "Bearer",
                    'Bearer error="invalid_token"',
                )
            for wrong in ("x", TOKEN + "x", TOKEN[:-1], "é"):
                answer = await http.get(path, headers=bearer(wrong))
                check_problem(answer, 401, "unauthorized")
                assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
                assert TOKEN not in answer.text
        assert compared, "tokens are compared in constant time"
        assert {len(part) for pair in compared for part in pair} == {32}, "and by digests, which are of one length"
        for scheme in ("Bearer", "bearer"):
            answer = await http.get(f"{LEADS}/l1", headers={"Authorization": f"{scheme} {TOKEN}".encode()})
            assert answer.status_code == 200
        assert (await http.post("/users", json=IVAN, headers=bearer(TOKEN))).status_code == 201
        for path, status in (("/api/health/live", 200), ("/api/health/ready", 503), ("/docs", 200)):
            assert (await http.get(path)).status_code == status


def test_a_token_shows_in_no_text_of_its_holder() -> None:
    assert TOKEN not in repr(vars(StaticToken(SecretStr(TOKEN))))
    assert GatewaySettings().tokens() is None


class Known:
    """Callers by token; one whose issuer is away."""

    async def caller(self, token: bytes) -> Caller | None:
        if token == b"away":
            raise KounterError("the issuer does not answer")
        scopes = {
            b"reader": {READ},
            b"writer": {WRITE_USERS},
            b"both": {READ, WRITE_ESTATE, WRITE_USERS},
            b"nothing": set[str](),
        }
        return Caller("somebody", frozenset(scopes[token])) if token in scopes else None


@pytest.fixture
async def http(parts: tuple[LocalReader, View]) -> Any:
    reader = parts[0]
    app = create_app(resources([ESTATE]), reader, Known(), LocalUsers(reader.view), statuses([CRM]))
    async with client(app) as http:
        yield http


READS = [
    ("GET", LEADS),
    ("GET", f"{LEADS}/l1"),
    ("GET", f"{LEADS}/l1/timeline"),
    ("GET", "/users"),
    ("GET", "/users/1"),
]
WRITES = [("POST", "/users"), ("PATCH", "/users/1"), ("POST", "/users/1/move")]


@pytest.mark.parametrize(("method", "path"), READS + WRITES)
async def test_each_route_asks_for_its_scope(http: httpx.AsyncClient, method: str, path: str) -> None:
    assert (await http.post("/users", json=IVAN, headers=bearer("both"))).status_code == 201
    body = None if method == "GET" else {"stage": "NEW"} if "1" in path else IVAN
    needed = READ if method == "GET" else WRITE_USERS
    for token in ("reader", "writer", "both", "nothing"):
        answer = await http.request(method, path, json=body, headers=bearer(token))
        if token in ("both", "reader" if needed == READ else "writer"):
            assert answer.is_success, (token, answer.text)
            continue
        assert needed in check_problem(answer, 403, "forbidden")["detail"]
        assert answer.headers["www-authenticate"] == f'Bearer error="insufficient_scope", scope="{needed}"'
    check_problem(await http.request(method, path, json=body, headers=bearer("unknown")), 401, "unauthorized")


async def test_while_tokens_can_not_be_checked_nobody_is_let_in(http: httpx.AsyncClient) -> None:
    for method, path in READS + WRITES:
        body = check_problem(await http.request(method, path, headers=bearer("away")), 503, "error")
        assert "the issuer does not answer" in body["detail"]


def test_the_document_shows_tokens_and_scopes_only_where_they_are_asked_for(parts: tuple[LocalReader, View]) -> None:
    for token, asked in (("", False), (TOKEN, True)):
        document = application(parts[0], token).openapi()
        schemes = document["components"].get("securitySchemes", {})
        assert {name: (s["type"], s["scheme"]) for name, s in schemes.items()} == (
            {"HTTPBearer": ("http", "bearer")} if asked else {}
        )
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                scope = READ if method == "get" else WRITE_ESTATE if path.startswith("/queue") else WRITE_USERS
                wanted = [{"HTTPBearer": [scope]}] if asked and not path.startswith("/api/health") else None
                assert operation.get("security") == wanted, path
                assert ({"401", "403"} <= set(operation["responses"])) == bool(wanted), path


async def test_a_refusal_has_the_status_of_its_domain(parts: tuple[LocalReader, View]) -> None:
    class Refusing:
        async def add(self, fields: Any, key: Any) -> Any:
            raise CommandRejected(fields["full_name"], "no")

    known = {"not_yours": 403, "taken": 409}
    app = create_app([], parts[0], None, Refusing(), known)  # type: ignore[arg-type]
    async with client(app) as http:
        for code, status in {**known, "anything_else": 422}.items():
            check_problem(await http.post("/users", json={**IVAN, "full_name": code}), status, code)


def test_the_domains_agree_on_the_statuses_of_codes() -> None:
    assert statuses(list(DOMAINS.values())) == {"not_found": 404}
    one, other, odd = (Domain(n, (), statuses={"taken": status}) for n, status in (("a", 409), ("b", 422), ("c", 200)))
    assert statuses([one, one]) == {"taken": 409}
    for wrong in ([one, other], [odd]):
        with pytest.raises(TypeError, match=f"{wrong[-1].name}: taken"):
            statuses(wrong)
