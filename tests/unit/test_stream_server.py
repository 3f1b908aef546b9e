"""Which settings of a server make its commits wait for a gateway."""

from __future__ import annotations

import pytest

from pgsync.stream.server import waits_for

NAME = "pgsync stream pgsync_main"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("", False),
        ("*", True),
        ("s1, s2", False),
        ("s1,*", True),
        ("1 (s1)", False),
        ("2 (s1, *)", True),
        ("FIRST 2 (s1, s2)", False),
        ("first 1 (*)", True),
        ('ANY 1 ("*")', True),
        ('any 1 (s1, "PGSYNC stream pgsync_main")', True),
        ('ANY 1 ("pgsync stream pgsync_other")', False),
        ('"pgsync stream pgsync_main"', True),
        ("first", False),
    ],
)
def test_commits_wait_for_a_gateway_that_the_setting_names(setting: str, expected: bool) -> None:
    assert waits_for(setting, NAME) is expected
