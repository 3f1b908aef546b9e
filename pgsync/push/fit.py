"""Whether the tables that exist fit a schema: one finding per row of the queries in `sql/fit`, each with what mends it.

Only reads catalogs; pgsync need not be installed. What the installed parts are like is `doctor`'s to say.
"""

from __future__ import annotations

import json
from typing import Any

import psycopg
from psycopg.rows import class_row

from pgsync import sqlfiles
from pgsync.compile.bundle import needs_full_identity
from pgsync.compile.functions import TableNames
from pgsync.push.doctor import LEVELS, Finding
from pgsync.push.introspect import Table, read_tables
from pgsync.schema.resolved import ResolvedModel, ResolvedSchema


def check_fit(conninfo: str, schema: ResolvedSchema) -> list[Finding]:
    """Everything that keeps a table from serving its model, or will hurt, the worst first. Raises psycopg.Error."""
    with psycopg.connect(conninfo, application_name="pgsync check", client_encoding="UTF8") as connection:
        connection.read_only = True
        connection.execute("SET LOCAL search_path = ''")
        tables = read_tables(connection, schema.models)
        models = [_described(schema, m, tables.get((m.namespace, m.table))) for m in schema.models]
        connection.execute("SELECT pg_catalog.set_config('pgsync.models', %s, true)", [json.dumps(models)])
        found: list[Finding] = []
        with connection.cursor(row_factory=class_row(Finding)) as cursor:
            for path in sqlfiles.names("fit"):
                found += cursor.execute(sqlfiles.render(path).encode()).fetchall()
    return sorted(found, key=lambda f: -LEVELS.index(f.level))


def _described(schema: ResolvedSchema, model: ResolvedModel, table: Table | None) -> dict[str, Any]:
    """What the queries are to know of a model."""
    targets = {m.key: m for m in schema.models}
    key_lacks_tenant = table is not None and model.tenant_column not in (None, *table.primary_key)
    return {
        "key": model.key,
        "namespace": model.namespace,
        "table": model.table,
        "id": model.id.column,
        "tenant": model.tenant_column,
        "mutable": model.mutable,
        "rule": model.rule is not None,
        "full": needs_full_identity(model) or key_lacks_tenant,
        "fields": [
            {
                "name": f.name,
                "column": f.column,
                "type": f.sql_type,
                "required": f.strict and not f.nullable,
                "nullable": f.nullable,
                "readonly": f.readonly,
                "base": f.base,
            }
            for f in model.fields
        ],
        "groups": sorted({g.column for g in model.groups}),
        "references": [
            {"column": r.column, "target": r.target, "table": TableNames(targets[r.target]).table}
            for r in model.references
            if r.enforced
        ],
    }
