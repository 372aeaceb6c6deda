"""Bodies that only the main backend reads. Source: docs/contracts/brusnika.md#encryption.

A new AES-256 key and IV for each body; the key goes along under the backend's public key (RSA-OAEP with SHA-256). There
is no MAC: the form is the backend's.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson
from cryptography.hazmat.primitives import hashes, padding, serialization
from cryptography.hazmat.primitives.asymmetric import padding as rsa_padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from schemas.errors import BrokenSetup

KEY_BYTES, IV_BYTES, BLOCK_BITS = 32, 16, 128
LEAST_KEY_BITS: Final = 2048
VARIABLE: Final = "KOUNTER_BACKEND__PUBLIC_KEY_FILE"
Seal = Callable[[bytes], bytes]
"""Function that returns the body to send for a plain one."""


def plain(body: bytes) -> bytes:
    """Returns the body as it is, for a backend that takes it so."""
    return body


def sealing(path: Path | None) -> Seal:
    """Returns the function that encrypts bodies with the public key in a PEM file; `plain` without a file.

    Raises BrokenSetup for a file that can't be read or that holds no RSA public key of 2048 bits or more.
    """
    if path is None:
        return plain
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise BrokenSetup(f"{VARIABLE}: {path} can't be read: {error.strerror}", hint="Name the key's file.") from None
    except ValueError:
        key = None
    if not isinstance(key, RSAPublicKey) or key.key_size < LEAST_KEY_BITS:
        expected = f"an RSA public key of at least {LEAST_KEY_BITS} bits as PEM"
        raise BrokenSetup(f"{VARIABLE}: expected {expected} in {path}", hint="Get the backend's public key.")
    public = key

    def seal(body: bytes) -> bytes:
        return sealed(public, body)

    return seal


def sealed(public: RSAPublicKey, body: bytes) -> bytes:
    """Returns ``{"key", "iv", "data"}``, all three in base64."""
    key, iv = os.urandom(KEY_BYTES), os.urandom(IV_BYTES)
    padder = padding.PKCS7(BLOCK_BITS).padder()
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).encryptor()
    data = encryptor.update(padder.update(body) + padder.finalize()) + encryptor.finalize()
    oaep = rsa_padding.OAEP(rsa_padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    parts = {"key": public.encrypt(key, oaep), "iv": iv, "data": data}
    return orjson.dumps({name: base64.b64encode(part).decode() for name, part in parts.items()})
