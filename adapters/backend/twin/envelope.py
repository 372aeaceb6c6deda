"""The reading side of encrypted bodies. Source: docs/contracts/brusnika.md#encryption."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def read_document(body: bytes, key: RSAPrivateKey | None) -> Any:
    """Return the JSON document of a plain body, or of an encrypted one if there is a key.

    Raises ValueError, the same for every failure.
    """
    try:
        read = json.loads(body)
        return read if key is None else json.loads(_opened(key, read))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("the body can't be read") from None


def _opened(key: RSAPrivateKey, sealed: dict[str, str]) -> bytes:
    parts = {name: base64.b64decode(sealed[name], validate=True) for name in ("key", "iv", "data")}
    inner = key.decrypt(parts["key"], OAEP(MGF1(hashes.SHA256()), hashes.SHA256(), None))
    decryptor = Cipher(algorithms.AES256(inner), modes.CBC(parts["iv"])).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    return unpadder.update(decryptor.update(parts["data"]) + decryptor.finalize()) + unpadder.finalize()
