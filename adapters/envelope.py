"""Bodies that only one receiver can read. Source: docs/contracts/brusnika.md#encryption.

A new AES-256 key and IV for each body; the key goes along under the receiver's public key (RSA-OAEP with SHA-256).
There is no MAC, so a sender must not be able to tell one failure from another: it could decrypt others' bodies byte by
byte.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from schemas.errors import BrokenSetup, InvalidInput
from schemas.external import parse_json

KEY_BYTES: Final = 32
BLOCK_BYTES: Final = 16
LEAST_KEY_BITS: Final = 2048
_PARTS: Final = {"key", "iv", "data"}


class Undecipherable(Exception):
    """Raised for an encrypted body that can't be read, whatever is wrong with it."""


def is_sealed(body: object) -> bool:
    """Returns whether a JSON value is an encrypted body."""
    return isinstance(body, dict) and body.keys() == _PARTS


def sealed(public: RSAPublicKey, plain: bytes) -> dict[str, str]:
    """Returns ``{"key", "iv", "data"}``, all three in base64."""
    key, iv = os.urandom(KEY_BYTES), os.urandom(BLOCK_BYTES)
    padder = padding.PKCS7(BLOCK_BYTES * 8).padder()
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).encryptor()
    data = encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()
    parts = {"key": public.encrypt(key, _oaep()), "iv": iv, "data": data}
    return {name: base64.b64encode(part).decode() for name, part in parts.items()}


def unsealed(private: RSAPrivateKey, body: Mapping[str, Any], *, max_bytes: int) -> Any:
    """Returns the JSON value in an encrypted body. Raises Undecipherable.

    Every step is done, with random bytes in place of what is wrong, so that neither the answer nor its time tells which
    step failed. A text that is no JSON is such a failure too: a changed body is one if its padding is valid by chance.
    """
    is_good = True
    parts = {name: _decoded(body.get(name)) for name in _PARTS}
    iv, data = parts["iv"], parts["data"]
    if len(iv) != BLOCK_BYTES or not data or len(data) % BLOCK_BYTES:
        is_good, iv, data = False, os.urandom(BLOCK_BYTES), os.urandom(BLOCK_BYTES * (1 + len(data) // BLOCK_BYTES))
    key = os.urandom(KEY_BYTES)
    try:
        found = private.decrypt(parts["key"], _oaep())
    except ValueError:
        is_good = False
    else:
        is_good, key = (is_good, found) if len(found) == KEY_BYTES else (False, key)
    decryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).decryptor()
    padded = decryptor.update(data) + decryptor.finalize()
    unpadder, plain = padding.PKCS7(BLOCK_BYTES * 8).unpadder(), padded
    try:
        plain = unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        is_good = False
    try:
        value = parse_json(plain, max_bytes=max_bytes)
    except InvalidInput:
        is_good, value = False, None
    if not is_good:
        raise Undecipherable
    return value


def private_key(path: Path, variable: str) -> RSAPrivateKey:
    """Returns the key in a PEM file. ``variable``: the setting that names the file.

    Raises BrokenSetup for a file that can't be read or that holds no RSA private key of 2048 bits or more.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise BrokenSetup(f"{variable}: {path} can't be read: {error.strerror}", hint="Name the key's file.") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it needs a password
        key = None
    if not isinstance(key, RSAPrivateKey) or key.key_size < LEAST_KEY_BITS:
        expected = f"an RSA private key of at least {LEAST_KEY_BITS} bits as PEM, without a password"
        raise BrokenSetup(f"{variable}: expected {expected} in {path}", hint="`openssl genrsa -out key.pem 3072`")
    return key


def public_key(path: Path, variable: str) -> RSAPublicKey:
    """Returns the key in a PEM file. ``variable``: the setting that names the file.

    Raises BrokenSetup for a file that can't be read or that holds no RSA public key of 2048 bits or more.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise BrokenSetup(f"{variable}: {path} can't be read: {error.strerror}", hint="Name the key's file.") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_KEY_BITS:
        expected = f"an RSA public key of at least {LEAST_KEY_BITS} bits as PEM"
        raise BrokenSetup(f"{variable}: expected {expected} in {path}", hint="Get the public key of the receiver.")
    return key


def _decoded(text: object) -> bytes:
    """Returns the bytes of a text in base64, none for anything else."""
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        return b""


def _oaep() -> rsa_padding.OAEP:
    return rsa_padding.OAEP(rsa_padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
