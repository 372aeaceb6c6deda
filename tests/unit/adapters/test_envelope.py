"""Encrypted bodies: both directions, and one error for all that can be wrong."""

from __future__ import annotations

import base64
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from adapters.envelope import Undecipherable, is_sealed, private_key, sealed, unsealed
from schemas.errors import BrokenSetup

LIMIT = 1 << 20
BODY = {"ext_id": "c-1", "name": "Тюмень", "price": 5}


@cache
def key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def seal(plain: bytes) -> dict[str, Any]:
    return dict(sealed(key().public_key(), plain))


def flipped(text: str, place: int) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[place] ^= 1
    return base64.b64encode(raw).decode()


def test_a_body_is_read_by_the_holder_of_the_key_alone() -> None:
    body = seal(json.dumps(BODY).encode())
    assert is_sealed(body)
    assert unsealed(key(), body, max_bytes=LIMIT) == BODY
    with pytest.raises(Undecipherable):
        unsealed(generate_private_key(65537, 2048), body, max_bytes=LIMIT)


WRONG: dict[str, Any] = {
    "base64": lambda body: {**body, "data": "!!"},
    "data as a number": lambda body: {**body, "data": 5},
    "no data": lambda body: {**body, "data": ""},
    "a part of a block": lambda body: {**body, "data": base64.b64encode(b"x" * 15).decode()},
    "padding": lambda body: {**body, "data": flipped(body["data"], -17)},
    "text": lambda body: {**body, "data": flipped(body["data"], 0)},
    "iv": lambda body: {**body, "iv": flipped(body["iv"], 0)},
    "a short iv": lambda body: {**body, "iv": base64.b64encode(b"x" * 8).decode()},
    "key": lambda body: {**body, "key": flipped(body["key"], 5)},
    "a short key": lambda body: {**body, "key": base64.b64encode(b"x").decode()},
    "half a character": lambda body: {**body, "key": "\ud800"},
    "no JSON": lambda body: seal(b"{"),
    "too deep": lambda body: seal(b"[" * 500 + b"]" * 500),
    "NaN": lambda body: seal(b'{"price": NaN}'),
}


@pytest.mark.parametrize("name", WRONG)
def test_whatever_is_wrong_has_one_error_and_all_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    body, steps = WRONG[name](seal(json.dumps(BODY).encode())), list[str]()
    import adapters.envelope as module

    parse = module.parse_json
    monkeypatch.setattr(module, "parse_json", lambda *a, **k: (steps.append("parse"), parse(*a, **k))[1])
    with pytest.raises(Undecipherable) as caught:
        unsealed(key(), body, max_bytes=LIMIT)
    assert caught.value.args == ()
    assert steps == ["parse"]


def test_any_padding_has_one_error() -> None:
    body = seal(json.dumps(BODY).encode())
    for _ in range(300):  # of these about one has a valid padding by chance
        wrong = {**body, "data": base64.b64encode(os.urandom(32)).decode()}
        with pytest.raises(Undecipherable):
            unsealed(key(), wrong, max_bytes=LIMIT)


def test_the_key_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    pem = serialization.Encoding.PEM
    form, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key().private_bytes(pem, form, none))
    assert private_key(path, "X").private_numbers() == key().private_numbers()
    for content in (b"", b"nonsense", key().public_key().public_bytes(pem, serialization.PublicFormat.PKCS1)):
        path.write_bytes(content)
        with pytest.raises(BrokenSetup, match="X: expected an RSA private key"):
            private_key(path, "X")
    weak = generate_private_key(65537, 1024)  # noqa: S505
    path.write_bytes(weak.private_bytes(pem, form, none))
    with pytest.raises(BrokenSetup, match="2048"):
        private_key(path, "X")
    with pytest.raises(BrokenSetup, match="can't be read"):
        private_key(tmp_path / "none.pem", "X")
