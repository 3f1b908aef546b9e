"""Finding the schema that a command line names: a Python file, a module's attribute, or a SchemaJSON file.

A Python file is executed anew each time, so that a changed file is seen.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from pgsync.schema.model import is_declared
from pgsync.schema.problem import SchemaError, SchemaLoadError
from pgsync.schema.schema import Schema

_FILE_MODULE = "pgsync_schema_file"


def load_schema(source: str | os.PathLike[str]) -> Schema:
    """The schema at `path.py`, `path.py:attr`, `package.module`, `package.module:attr` or `path.json`.

    Without `:attr` a module's `schema = Schema(...)` is taken, or else all Model classes that it holds. Raises
    SchemaLoadError when there is none to be found and SchemaError when it is wrong.
    """
    text = os.fspath(source)
    place, _, attribute = (text, "", "") if Path(text).exists() else text.partition(":")
    if place.endswith(".json"):
        return _load_json(Path(place))
    if place.endswith(".py"):
        return _load_file(Path(place), attribute)
    return _load_module(place, attribute)


def _load_json(path: Path) -> Schema:
    try:
        document = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise SchemaLoadError(f"{path} is not JSON ({error})", "write the schema as SchemaJSON, version 3") from error
    return Schema.from_json(document)


def _load_file(path: Path, attribute: str) -> Schema:
    try:
        code = compile(_read(path), str(path), "exec")
    except (SyntaxError, ValueError) as error:
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise SchemaLoadError(f"{path}{where}: {error}", "correct the syntax") from error
    module = ModuleType(_FILE_MODULE)
    module.__file__ = str(path)
    # Classes look their annotations up in their module, so it has to be findable until the schema is made.
    with _importing_from(path.resolve().parent), _registered(module):
        try:
            exec(code, module.__dict__)
        except (SchemaError, SchemaLoadError):
            raise
        except Exception as error:  # noqa: BLE001  it is the author's code that runs here
            _explain(error, str(path))
        return _take(module, attribute, str(path))


def _load_module(name: str, attribute: str) -> Schema:
    if not all(part.isidentifier() for part in name.split(".")):
        raise SchemaLoadError(
            f"{name!r} is neither a file nor a module", "name a path.py, a path.json or package.module:attribute"
        )
    with _importing_from(Path.cwd()):
        try:
            module = importlib.import_module(name)
        except (SchemaError, SchemaLoadError):
            raise
        except Exception as error:  # noqa: BLE001  it is the author's code that runs here
            _explain(error, name)
        return _take(module, attribute, name)


def _take(module: ModuleType, attribute: str, source: str) -> Schema:
    names = vars(module)
    if attribute and attribute not in names:
        raise SchemaLoadError(f"{source} has no {attribute!r}", "name an attribute that the module defines")
    value = names[attribute] if attribute else names.get("schema")
    if isinstance(value, Schema):
        return value
    if isinstance(value, Mapping):
        return Schema.from_json(dict(value))
    values: list[object] = [item for item in names.values() if is_declared(item)]
    if attribute:
        values = list(value) if isinstance(value, (list, tuple)) else [value]
    models = [item for item in values if is_declared(item)]
    if not models or len(models) != len(values):
        what = f"{attribute!r} in {source} is" if attribute else f"{source} has"
        raise SchemaLoadError(
            f"{what} no schema", "define schema = Schema(...), or classes that derive from pgsync.schema.Model"
        )
    return Schema(*models)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SchemaLoadError(f"{path} cannot be read ({error.strerror})", "check the path") from error


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextmanager
def _registered(module: ModuleType) -> Iterator[None]:
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        if before is None:
            del sys.modules[module.__name__]
        else:
            sys.modules[module.__name__] = before


def _explain(error: Exception, source: str) -> NoReturn:
    """Says what went wrong while the author's code ran, with the line of theirs."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and "importlib" not in frame.filename
    ]
    where = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else source
    raise SchemaLoadError(
        f"{where}: {type(error).__name__}: {error}", "correct it, or install what it imports"
    ) from error
