"""A whole schema as a value: declared in Python or read from SchemaJSON, always valid once it exists.

Both ways end in one document and one resolved form, so nothing behind this module knows how a schema was written.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from pgsync.schema.model import Model, is_declared
from pgsync.schema.problem import Problem, SchemaError
from pgsync.schema.resolve import resolve
from pgsync.schema.resolved import ResolvedSchema
from pgsync.schema.serialize import to_document


class Schema:
    """A collection of models.

    Raises SchemaError with every problem at once. `resolved` is what `compile` takes; `to_json()` is the document that
    `POST /api/schema` takes; `hash` is the contract's schema hash.
    """

    resolved: ResolvedSchema

    def __init__(
        self,
        *models: type[Model],
        identity_roles: Sequence[Mapping[str, Any]] = (),
        session_settings: Mapping[str, str] | None = None,
    ) -> None:
        for model in models:
            if not is_declared(model):
                raise TypeError(f"{model!r} is not a model; pass classes that derive from Model and are not abstract")
        document, problems = to_document(
            tuple(dict.fromkeys(models)), identity_roles=identity_roles, session_settings=session_settings
        )
        self._settle(document, problems)

    @classmethod
    def from_json(cls, document: object) -> Schema:
        """The schema of a SchemaJSON document, which is kept as it came, so its hash is the one its author computes."""
        schema = cls.__new__(cls)
        try:
            document = copy.deepcopy(document)
        except RecursionError:
            raise SchemaError([Problem("is nested too deeply", "send a SchemaJSON object of version 3")]) from None
        schema._settle(document, [])
        return schema

    def to_json(self) -> dict[str, Any]:
        """The SchemaJSON document, with the `pgsync` key if anything is in it that SchemaJSON cannot carry."""
        return copy.deepcopy(dict(self.resolved.document))

    @property
    def hash(self) -> str:
        """The contract's hash of the schema."""
        return self.resolved.hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self.resolved.document == other.resolved.document

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Schema {self.hash} {' '.join(model.key for model in self.resolved.models)}>"

    def _settle(self, document: object, problems: list[Problem]) -> None:
        resolved, more = resolve(document)
        if resolved is None or problems:
            raise SchemaError([*problems, *more])
        self.resolved = resolved
