"""Encrypted bodies, both ways, and against other implementations."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.envelope import Undecipherable, is_sealed, private_key, public_key, sealed, unsealed
from schemas.errors import BrokenSetup

KEY = rsa.generate_private_key(65_537, 2_048)
OTHER = rsa.generate_private_key(65_537, 2_048)
VARIABLE = "KOUNTER_X__KEY_FILE"
TEXT = '{"ext_id":"пр-1","name":"Дом «7»"}'.encode()
NODE_OPENS = """
const c = require("crypto"), fs = require("fs"), e = JSON.parse(fs.readFileSync(0));
const b = (t) => Buffer.from(t, "base64"), key = fs.readFileSync(process.argv[1]);
const padding = c.constants.RSA_PKCS1_OAEP_PADDING;
const inner = c.privateDecrypt({ key, padding, oaepHash: "sha256" }, b(e.key));
const d = c.createDecipheriv("aes-256-cbc", inner, b(e.iv));
process.stdout.write(Buffer.concat([d.update(b(e.data)), d.final()]));
"""
NODE_SEALS = """
const c = require("crypto"), fs = require("fs"), text = fs.readFileSync(0), key = fs.readFileSync(process.argv[1]);
const inner = c.randomBytes(32), iv = c.randomBytes(16), d = c.createCipheriv("aes-256-cbc", inner, iv);
const data = Buffer.concat([d.update(text), d.final()]), padding = c.constants.RSA_PKCS1_OAEP_PADDING;
const parts = { key: c.publicEncrypt({ key, padding, oaepHash: "sha256" }, inner), iv, data };
const e = Object.fromEntries(Object.entries(parts).map(([n, v]) => [n, v.toString("base64")]));
process.stdout.write(JSON.stringify(e));
"""


def pem(key: Any) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def public_pem(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def run(*command: str, given: bytes) -> bytes:
    return subprocess.run(command, input=given, capture_output=True, check=True, timeout=60).stdout


def seal(key: Any, text: bytes) -> bytes:
    return json.dumps(sealed(key.public_key(), text)).encode()


def unseal(key: Any, envelope: bytes) -> Any:
    return unsealed(key, json.loads(envelope), max_bytes=1_000)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=200))
def test_a_sealed_body_is_read_by_its_key(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    assert unseal(KEY, seal(KEY, json.dumps({"a": text}).encode())) == {"a": text}


def test_equal_bodies_have_nothing_in_common() -> None:
    first, second = (json.loads(seal(KEY, TEXT)) for _ in range(2))
    assert is_sealed(first)
    assert not first.items() & second.items()
    assert len(base64.b64decode(first["iv"])) == 16


def broken() -> list[Any]:
    good = json.loads(seal(KEY, TEXT))
    odd = base64.b64encode(b"x" * 17).decode()
    flipped = bytearray(base64.b64decode(good["data"]))
    flipped[-1] ^= 1  # the last block decrypts to noise: its padding is wrong
    parts = [{name: "*"} for name in good] + [{name: odd} for name in good] + [{name: 7} for name in good]
    parts += [{"data": base64.b64encode(flipped).decode()}, {"data": ""}]
    bodies = [good | part for part in parts] + [{n: v for n, v in good.items() if n != name} for name in good]
    return [*bodies, json.loads(seal(OTHER, TEXT)), json.loads(seal(KEY, b"no JSON")), {}]


@pytest.mark.parametrize("body", broken())
def test_every_failure_is_the_same(body: Any) -> None:
    with pytest.raises(Undecipherable) as failed:
        unsealed(KEY, body, max_bytes=1_000)
    assert failed.value.args == ()
    assert failed.value.__context__ is None


@pytest.mark.parametrize("content", [None, b"no key", "the other half", "elliptic", "short", "locked"])
@pytest.mark.parametrize("load", [public_key, private_key])
def test_a_key_file_that_can_not_be_used_is_named(tmp_path: Path, load: Any, content: bytes | str | None) -> None:
    path = tmp_path / "key.pem"
    if content == "the other half":
        content = pem(KEY) if load is public_key else public_pem(KEY)
    elif content in ("elliptic", "short"):
        key: Any = ec.generate_private_key(ec.SECP256R1()) if content == "elliptic" else short_key()
        content = public_pem(key) if load is public_key else pem(key)
    elif content == "locked":
        form, lock = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
        content = KEY.private_bytes(serialization.Encoding.PEM, form, lock)
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(BrokenSetup, match=VARIABLE):
        load(path, VARIABLE)


def short_key() -> Any:
    return rsa.generate_private_key(65_537, 1_024)  # noqa: S505 - it is to be refused


def test_keys_are_read_from_files(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(KEY))
    envelope = sealed(public_key(path, VARIABLE), TEXT)
    path.write_bytes(pem(KEY))
    assert unsealed(private_key(path, VARIABLE), envelope, max_bytes=1_000) == json.loads(TEXT)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_node_reads_our_bodies_and_we_read_those_of_node(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(KEY))
    assert run("node", "-e", NODE_OPENS, str(path), given=seal(KEY, TEXT)) == TEXT
    path.write_bytes(public_pem(KEY))
    assert unseal(KEY, run("node", "-e", NODE_SEALS, str(path), given=TEXT)) == json.loads(TEXT)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_reads_our_bodies_and_we_read_those_of_openssl(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem(KEY))
    oaep = [
        o for name in ("rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha256") for o in ("-pkeyopt", name)
    ]
    got = {name: base64.b64decode(part) for name, part in sealed(KEY.public_key(), TEXT).items()}
    inner = run("openssl", "pkeyutl", "-decrypt", "-inkey", str(path), *oaep, given=got["key"])
    aes = ["openssl", "enc", "-aes-256-cbc", "-K", inner.hex(), "-iv", got["iv"].hex()]
    assert run(*aes, "-d", given=got["data"]) == TEXT

    path.write_bytes(public_pem(KEY))
    key = run("openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", str(path), *oaep, given=inner)
    parts = {"key": key, "iv": got["iv"], "data": run(*aes, given=TEXT)}
    envelope = {name: base64.b64encode(part).decode() for name, part in parts.items()}
    assert unseal(KEY, json.dumps(envelope).encode()) == json.loads(TEXT)
