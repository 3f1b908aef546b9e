"""The format of a bearer key: a prefix that names its kind, 30 random base62 characters and a checksum of six.

The checksum tells a mistyped key from an unknown one without asking the database, which stores only the sha-256 of a
key.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from typing import Final, Literal

KeyKind = Literal["sk", "rk", "ek", "pk"]

KINDS: Final[tuple[KeyKind, ...]] = ("sk", "rk", "ek", "pk")
"""secret, restricted (an agent's), ephemeral (a user's session), publishable: contract 1.12."""

ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
BODY_LENGTH: Final = 30
CHECKSUM_LENGTH: Final = 6

_SHAPE = re.compile(rf"(?:sk|rk|ek|pk)_[0-9A-Za-z]{{{BODY_LENGTH + CHECKSUM_LENGTH}}}\Z")


def checksum(text: str) -> str:
    """CRC32 of the text as six base62 digits, the most significant first (contract 1.12)."""
    value = zlib.crc32(text.encode("ascii"))
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def generate(kind: KeyKind) -> str:
    """A new key of this kind with 178 bits of randomness."""
    unchecked = f"{kind}_" + "".join(secrets.choice(ALPHABET) for _ in range(BODY_LENGTH))
    return unchecked + checksum(unchecked)


def is_wellformed(key: str) -> bool:
    """Whether the key has the shape of one of ours and its checksum agrees."""
    if _SHAPE.match(key) is None:
        return False
    return checksum(key[:-CHECKSUM_LENGTH]) == key[-CHECKSUM_LENGTH:]


def digest(key: str) -> bytes:
    """What the database keeps and looks up: the sha-256 of the whole key, prefix included."""
    return hashlib.sha256(key.encode()).digest()
