"""Finds the example schemas that come with pgsync: `examples/` of a checkout, `_examples/` of a wheel."""

from __future__ import annotations

from pathlib import Path


def bundled_schema(name: str) -> str:
    """The path of an example's schema. Raises FileNotFoundError when the installation is incomplete."""
    package = Path(__file__).resolve().parents[1]
    for examples in (package / "_examples", package.parent / "examples"):
        path = examples / name / "schema.py"
        if path.is_file():
            return str(path)
    raise FileNotFoundError(f"no example {name!r} beside {package}; install pgsync-layer again")
