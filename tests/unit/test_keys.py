"""Bearer keys: what is generated is accepted, what was mistyped is not."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync import keys


@pytest.mark.parametrize("kind", keys.KINDS)
def test_generated_key_has_prefix_length_and_a_checksum_that_agrees(kind: keys.KeyKind) -> None:
    key = keys.generate(kind)
    assert key.startswith(f"{kind}_")
    assert len(key) == 3 + 30 + 6
    assert keys.is_wellformed(key)


def test_two_keys_differ() -> None:
    assert keys.generate("sk") != keys.generate("sk")


def test_checksum_is_crc32_in_base62_most_significant_digit_first() -> None:
    # crc32("123456789") = 0xCBF43926 = 3421780262, the check value that every CRC32 table gives.
    value = 0
    for digit in keys.checksum("123456789"):
        value = value * 62 + keys.ALPHABET.index(digit)
    assert value == 0xCBF43926
    assert keys.checksum("") == "000000"


@given(position=st.integers(min_value=3, max_value=38), shift=st.integers(min_value=1, max_value=61))
def test_one_wrong_character_is_noticed(position: int, shift: int) -> None:
    key = keys.generate("rk")
    wrong = keys.ALPHABET[(keys.ALPHABET.index(key[position]) + shift) % 62]
    assert not keys.is_wellformed(key[:position] + wrong + key[position + 1 :])


@pytest.mark.parametrize("text", ["", "sk_", "sk_short", "mk_" + "0" * 36, "xx_" + "0" * 36, "sk_" + "é" * 36, "\n"])
def test_text_of_another_shape_is_not_a_key(text: str) -> None:
    assert not keys.is_wellformed(text)


def test_key_with_a_trailing_newline_is_not_a_key() -> None:
    assert not keys.is_wellformed(keys.generate("sk") + "\n")


def test_digest_covers_the_whole_key() -> None:
    assert keys.digest("sk_x") == hashlib.sha256(b"sk_x").digest()
