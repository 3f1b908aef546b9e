"""Random writes of every kind, each drawn from the step's own generator, so that a step is the same whoever runs it."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.oracle.schemas import ORGANIZATIONS, PEOPLE, PERSON, STATUSES, TEAMS, Model, Schema

POOL: Final = 8  # rows that writers choose from, per model and organization
LOCK_MILLISECONDS: Final = 400

# What a random statement may be refused with; anything else is a defect of the oracle.
REFUSALS: Final = (
    psycopg.errors.IntegrityError,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.QueryCanceled,
    psycopg.errors.FeatureNotSupported,  # COPY FROM by a role that row security binds
)


def row_id(rng: random.Random, model: Model, pool: int = POOL) -> str:
    """One of the few ids that a model's rows have."""
    return f"{model.typename[0].lower()}{rng.randrange(pool)}"


def random_value(rng: random.Random, column: str, schema: Schema, model: Model) -> Any:
    """A value for a column; None now and then, and a foreign key that may lead nowhere."""
    for reference in model.references:
        if reference.column == column:
            if rng.random() < (0.4 if model.grants is None else 0.1):
                return None
            return (
                rng.choice(PEOPLE) if reference.target == PERSON else row_id(rng, schema.by_typename[reference.target])
            )
    if rng.random() < 0.12:
        return None
    match column:
        case "title":
            groups = [f"team:{team}" for team in TEAMS] + [f"org:{name}" for name in ORGANIZATIONS]
            return rng.choice(groups) if rng.random() < 0.4 else f"title {rng.randrange(1000)}"
        case "body":
            if rng.random() < 0.12:  # long and hard to compress: it lives beside the row
                return "".join(rng.choices(string.ascii_letters + string.digits, k=rng.randint(2500, 9000)))
            return rng.choice(("", "é 😀 \\ ' \"", "x" * rng.randrange(40)))
        case "status":
            return rng.choice(STATUSES)
        case "level":
            return rng.randint(0, 6)
        case "private":
            return rng.random() < 0.5
        case "owner_id":
            return rng.choice(PEOPLE)
        case "team_id":
            return rng.choice(TEAMS)
        case "due":
            return f"20{rng.randint(10, 40)}-0{rng.randint(1, 9)}-{rng.randint(10, 28)}"
        case "data":
            return {"n": rng.randrange(100), "list": [True, None, "é"]} if rng.random() < 0.7 else [rng.random() < 0.5]
        case _:
            return f"{column} {rng.randrange(1000)}"


def random_fields(rng: random.Random, schema: Schema, model: Model, *, least: int = 1, most: int = 5) -> dict[str, Any]:
    """Some fields of a row with new values, as JSON over HTTP has them."""
    columns = model.writable()
    chosen = rng.sample(columns, min(len(columns), rng.randint(least, most)))
    return {column: random_value(rng, column, schema, model) for column in chosen}


def random_operation(rng: random.Random, schema: Schema) -> dict[str, Any]:
    """One operation of a batch (contract 1.8)."""
    model = rng.choice(schema.models)
    action = rng.choices(("create", "update", "delete"), (5, 6, 1))[0]
    found = {"action": action, "model": model.key, "id": row_id(rng, model)}
    return found if action == "delete" else found | {"data": random_fields(rng, schema, model)}


# --- SQL --------------------------------------------------------------------------------------------------------------

Connection = psycopg.Connection[Any]


def begin(connection: Connection) -> None:
    """Limits of a random writer: nobody waits for long, whoever holds what it wants."""
    connection.execute(f"SET lock_timeout = '{LOCK_MILLISECONDS}ms'")
    connection.execute("SET statement_timeout = '20s'")


def _adapted(value: Any) -> Any:
    return Jsonb(value) if isinstance(value, dict | list) else value


def _full_row(rng: random.Random, schema: Schema, model: Model, organization: str, identity: str) -> dict[str, Any]:
    row = {"id": identity} | ({"organization_id": organization} if model.tenant else {})
    return row | random_fields(rng, schema, model, least=3, most=9)


def insert(connection: Connection, model: Model, row: dict[str, Any], *, upsert: bool = False) -> None:
    """One row; on conflict its title is changed when `upsert`."""
    key = [*(["organization_id"] if model.tenant else []), "id"]
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(model.table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(sql.Placeholder() for _ in row),
    )
    if upsert:
        statement += sql.SQL(" ON CONFLICT ({}) DO UPDATE SET title = 'upserted'").format(
            sql.SQL(", ").join(map(sql.Identifier, key))
        )
    connection.execute(statement, [_adapted(value) for value in row.values()])


def grant(connection: Connection, model: Model, row: dict[str, Any]) -> None:
    """A membership, new or in place of what it granted before."""
    changed = [name for name in row if name not in ("id", "organization_id")]
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (organization_id, id) DO UPDATE SET {}").format(
            sql.Identifier(model.table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() for _ in row),
            sql.SQL(", ").join(sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(name)) for name in changed),
        ),
        list(row.values()),
    )


def random_insert(rng: random.Random, connection: Connection, schema: Schema) -> None:
    """One new row, or one that is there changed."""
    model = rng.choice(schema.models)
    row = _full_row(rng, schema, model, rng.choice(ORGANIZATIONS), row_id(rng, model))
    insert(connection, model, row, upsert=True)


def random_statement(rng: random.Random, connection: Connection, schema: Schema) -> None:
    """One statement of a direct writer. Raises one of REFUSALS where the database says no."""
    model = rng.choice(schema.models)
    organization = rng.choice(ORGANIZATIONS)
    table = sql.Identifier(model.table)
    mine = sql.SQL("organization_id = {}").format(organization) if model.tenant else sql.SQL("true")
    identity = row_id(rng, model)
    kind = rng.choices(("insert", "upsert", "update", "update many", "touch", "delete", "move", "copy"),
                       (5, 3, 6, 2, 1, 2, 1, 1))[0]  # fmt: skip
    match kind:
        case "insert" | "upsert":
            insert(connection, model, _full_row(rng, schema, model, organization, identity), upsert=kind == "upsert")
        case "update":
            fields = random_fields(rng, schema, model)
            assignments = sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in fields
            )
            connection.execute(
                sql.SQL("UPDATE {} SET {} WHERE id = {} AND {}").format(table, assignments, identity, mine),
                [_adapted(value) for value in fields.values()],
            )
        case "update many":
            level = rng.randint(0, 6)
            connection.execute(
                sql.SQL("UPDATE {} SET level = {}, status = {} WHERE level < {} AND {}").format(
                    table, rng.randint(0, 6), rng.choice(STATUSES), level, mine
                )
            )
        case "touch":  # what was too long to stay in the row does not come again with the log
            connection.execute(sql.SQL("UPDATE {} SET level = level WHERE {}").format(table, mine))
        case "delete":
            connection.execute(sql.SQL("DELETE FROM {} WHERE id = {} AND {}").format(table, identity, mine))
        case "move":
            connection.execute(
                sql.SQL("UPDATE {} SET id = {} WHERE id = {} AND {}").format(table, row_id(rng, model), identity, mine)
            )
        case _:
            _copy(rng, connection, schema, model, organization)


def _copy(rng: random.Random, connection: Connection, schema: Schema, model: Model, organization: str) -> None:
    columns = ["id", *(["organization_id"] if model.tenant else []), "title", "status", "level"]
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(model.table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor().copy(statement) as copy:
        for _ in range(rng.randint(1, 5)):
            row = _full_row(rng, schema, model, organization, row_id(rng, model, 2 * POOL))
            copy.write_row([row.get(name) for name in columns])


def random_transaction(rng: random.Random, connection: Connection, schema: Schema, *, prepared: bool = False) -> str:
    """Statements, some inside savepoints that are kept or not, and then an end of either kind; what the end was."""
    if rng.random() < 0.1:
        connection.execute("SET session_replication_role = replica")
    connection.execute("BEGIN")
    try:
        for number in range(rng.randint(1, 6)):
            if rng.random() < 0.3:
                connection.execute(f"SAVEPOINT s{number}")
                try:
                    for _ in range(rng.randint(1, 3)):
                        random_statement(rng, connection, schema)
                except REFUSALS:
                    connection.execute(f"ROLLBACK TO s{number}")
                else:
                    connection.execute(rng.choice((f"RELEASE s{number}", f"ROLLBACK TO s{number}")))
            else:
                random_statement(rng, connection, schema)
        end = rng.choices(("COMMIT", "ROLLBACK"), (6, 1))[0]
        if prepared:
            name = f"oracle_{rng.getrandbits(60):x}"
            connection.execute(f"PREPARE TRANSACTION '{name}'")
            connection.execute(f"{end} PREPARED '{name}'")
        else:
            connection.execute(end)
    except REFUSALS:
        connection.execute("ROLLBACK")
        return "refused"
    finally:
        if not connection.closed:
            connection.execute("RESET session_replication_role")
    return end.lower()


def large_transaction(rng: random.Random, connection: Connection, schema: Schema) -> int:
    """More rows than a frame holds, in one transaction; how many."""
    model = rng.choice(schema.models)
    organization = rng.choice(ORGANIZATIONS)
    count = rng.choice((400, 1500))
    columns = ["id", *(["organization_id"] if model.tenant else []), "title", "body", "status", "level", "owner_id"]
    tag = f"{rng.getrandbits(24):x}"
    with connection.transaction():
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(model.table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with connection.cursor().copy(statement) as copy:
            for number in range(count):
                row = {"id": f"{tag}-{number}", "organization_id": organization, "title": f"large {number}"}
                row |= {"body": "b" * rng.randrange(700), "status": rng.choice(STATUSES)}
                row |= {"level": str(rng.randint(0, 6)), "owner_id": rng.choice(PEOPLE)}
                copy.write_row([row[name] for name in columns])
        connection.execute(
            sql.SQL("UPDATE {} SET level = 3 WHERE id LIKE {}").format(sql.Identifier(model.table), f"{tag}-%7")
        )
    with connection.transaction():
        connection.execute(sql.SQL("DELETE FROM {} WHERE id LIKE {}").format(sql.Identifier(model.table), f"{tag}-%"))
    return count


def truncate(rng: random.Random, connection: Connection, schema: Schema) -> Sequence[str]:
    """One or two tables, with what refers to them; their names, none when somebody holds them."""
    tables = [model.table for model in rng.sample(list(schema.models), rng.randint(1, 2))]
    statement = sql.SQL("TRUNCATE {} CASCADE").format(sql.SQL(", ").join(map(sql.Identifier, tables)))
    try:
        with connection.transaction():
            connection.execute(statement)
            if rng.random() < 0.5:
                model = schema.by_table[tables[0]]
                row = {"id": row_id(rng, model), "title": "after the truncation"}
                insert(connection, model, row | ({"organization_id": "acme"} if model.tenant else {}))
    except REFUSALS:
        return []
    return tables


def spell(value: Any) -> str:
    """For messages."""
    return json.dumps(value, default=str)[:200]
