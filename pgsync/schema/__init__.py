"""What is declared: typed models, their SchemaJSON, and the resolved form that `compile` takes."""

from pgsync.models import Grants
from pgsync.schema.hash import model_hash, schema_hash
from pgsync.schema.load import load_schema
from pgsync.schema.model import JSON, Field, Model, Ref, bigint
from pgsync.schema.problem import Problem, SchemaError, SchemaLoadError
from pgsync.schema.resolved import Reference, ResolvedField, ResolvedModel, ResolvedSchema, to_runtime
from pgsync.schema.schema import Schema

__all__ = [
    "JSON",
    "Field",
    "Grants",
    "Model",
    "Problem",
    "Ref",
    "Reference",
    "ResolvedField",
    "ResolvedModel",
    "ResolvedSchema",
    "Schema",
    "SchemaError",
    "SchemaLoadError",
    "bigint",
    "load_schema",
    "model_hash",
    "schema_hash",
    "to_runtime",
]
