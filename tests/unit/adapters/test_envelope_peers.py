"""Encrypted bodies against other implementations, and the key of the receiver."""

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

from adapters.envelope import public_key, sealed, unsealed
from schemas.errors import BrokenSetup

KEY = rsa.generate_private_key(65_537, 2_048)
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


@pytest.mark.parametrize("content", ["none", "no key", "private", "elliptic", "short"])
def test_a_public_key_file_that_can_not_be_used_is_named(tmp_path: Path, content: str) -> None:
    contents = {
        "no key": lambda: b"no key",
        "private": lambda: pem(KEY),
        "elliptic": lambda: public_pem(ec.generate_private_key(ec.SECP256R1())),
        "short": lambda: public_pem(rsa.generate_private_key(65_537, 1_024)),  # noqa: S505 - it is to be refused
    }
    path = tmp_path / "key.pem"
    if content in contents:
        path.write_bytes(contents[content]())
    with pytest.raises(BrokenSetup, match=VARIABLE):
        public_key(path, VARIABLE)


def test_a_public_key_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(public_pem(KEY))
    assert unsealed(KEY, sealed(public_key(path, VARIABLE), TEXT), max_bytes=1_000) == json.loads(TEXT)


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
