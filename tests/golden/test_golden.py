"""What a schema compiles to changes only on purpose."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.golden.cases import CASES, compiled, golden


@pytest.mark.parametrize("name", CASES)
def test_compiled_sql_is_the_golden(name: str) -> None:
    found, now = golden(name).read_text(encoding="utf-8"), compiled(name)
    assert now == found, "run `python -m tests.golden.cases` and review the difference"


@pytest.mark.parametrize("seed", ["1", "2"])
def test_compiled_sql_is_the_same_in_every_process(seed: str) -> None:
    program = "import sys; from tests.golden.cases import compiled; sys.stdout.write(compiled('wide'))"
    said = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == compiled("wide")
