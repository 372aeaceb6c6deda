"""Bodies that only one side can read. Source: docs/contracts/brusnika.md#encryption.

``{"key", "iv", "data"}``, each in base64: a new AES-256 key and IV for each body, and the key under the reader's public
key (RSA-OAEP with SHA-256). There is no MAC, so a reader must not show at which step it failed.
"""

from __future__ import annotations

import base64
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from schemas.errors import BrokenSetup, InvalidInput

KEY_BYTES, IV_BYTES, BLOCK_BITS = 32, 16, 128
LEAST_KEY_BITS: Final = 2048
NO_KEY: Final = (ValueError, UnsupportedAlgorithm, TypeError)
"""Errors of a PEM file without a usable key; TypeError: it has a password."""
EXPECTED: Final = 'a JSON object {"key", "iv", "data"} in base64, encrypted with the public key of this service'


def public_key(path: Path, variable: str) -> RSAPublicKey:
    """Returns the public key in a PEM file. ``variable`` is the setting that names the file.

    Raises BrokenSetup for a file that can't be read, and one without an RSA public key of 2048 bits or more.
    """
    key: Any = None
    with suppress(*NO_KEY):
        key = serialization.load_pem_public_key(_content(path, variable))
    if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_KEY_BITS:
        raise _no_key("public", path, variable)
    return key


def private_key(path: Path, variable: str) -> RSAPrivateKey:
    """Returns the private key in a PEM file without a password. ``variable`` is the setting that names the file.

    Raises BrokenSetup for a file that can't be read, and one without an RSA private key of 2048 bits or more.
    """
    key: Any = None
    with suppress(*NO_KEY):
        key = serialization.load_pem_private_key(_content(path, variable), None)
    if not isinstance(key, RSAPrivateKey) or key.key_size < LEAST_KEY_BITS:
        raise _no_key("private", path, variable)
    return key


def seal(key: RSAPublicKey, body: bytes) -> bytes:
    """Returns the envelope of a body."""
    inner, iv = os.urandom(KEY_BYTES), os.urandom(IV_BYTES)
    padder = padding.PKCS7(BLOCK_BITS).padder()
    encryptor = Cipher(algorithms.AES256(inner), modes.CBC(iv)).encryptor()
    data = encryptor.update(padder.update(body) + padder.finalize()) + encryptor.finalize()
    parts = {"key": key.encrypt(inner, _oaep()), "iv": iv, "data": data}
    return orjson.dumps({name: base64.b64encode(part).decode() for name, part in parts.items()})


def unseal(key: RSAPrivateKey, envelope: bytes) -> bytes:
    """Returns the body in an envelope. Raises InvalidInput, the same for every failure."""
    try:
        return _unsealed(key, orjson.loads(envelope))
    except (ValueError, KeyError, TypeError):
        # One text for all: with different ones, many tries would show what the envelope holds (a padding oracle).
        raise InvalidInput("body", EXPECTED, "another body") from None


def _unsealed(key: RSAPrivateKey, envelope: Any) -> bytes:
    parts = {name: base64.b64decode(envelope[name], validate=True) for name in ("key", "iv", "data")}
    decryptor = Cipher(algorithms.AES256(key.decrypt(parts["key"], _oaep())), modes.CBC(parts["iv"])).decryptor()
    unpadder = padding.PKCS7(BLOCK_BITS).unpadder()
    return unpadder.update(decryptor.update(parts["data"]) + decryptor.finalize()) + unpadder.finalize()


def _oaep() -> rsa_padding.OAEP:
    return rsa_padding.OAEP(rsa_padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


def _content(path: Path, variable: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BrokenSetup(f"{variable}: {path} can't be read: {error.strerror}", hint="Name the key's file.") from None


def _no_key(word: str, path: Path, variable: str) -> BrokenSetup:
    expected = f"an RSA {word} key of at least {LEAST_KEY_BITS} bits as PEM, without a password"
    return BrokenSetup(f"{variable}: expected {expected} in {path}", hint="Make or get such a key.")
