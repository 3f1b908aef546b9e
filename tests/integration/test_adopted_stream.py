"""Changes of a table that an application made for itself arrive like any others, whatever its names and types."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgsync.push import push
from pgsync.schema import Schema
from tests.integration.stream_support import Viewer, running
from tests.postgres import Database, Server
from tests.sql.test_adopted_tables import ODD_TABLES, THEM, US, Line, Order

INSERT = """
INSERT INTO "Shop's"."Order"
  ("Number", "Tenant Id", "Title", "select", amount, weight, due, meta, "bl%sob", code, share, tags, host, "a$b")
VALUES
  (1, '{}', 'ours', 'x', 1.5, 0.1, '2026-01-02 03:04:05', '{{"a": [1]}}', '\\x0001ff', 'abc', 7, '{{a,NULL}}', '10.0.0.1', 3),
  (2, '{}', 'ours', NULL, 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO "Shop's".lines VALUES ('a', '{}', 1), ('b', '{}', 2)
"""  # noqa: E501  one row a line


@pytest.fixture
def odd(server: Server) -> Iterator[Database]:
    database = server.create_database()
    try:
        database.execute(ODD_TABLES)
        push(database.dsn, Schema(Order, Line), migrate=False)
        yield database
    finally:
        database.drop()


async def test_changes_of_an_adopted_table_arrive_at_its_organization_only(odd: Database) -> None:
    async with running(odd, "a") as a:
        us, them = Viewer(a.feed, US, "of:ours"), Viewer(a.feed, THEM, "of:ours")
        odd.execute(INSERT.format(US, THEM, US, THEM))
        await us.sees(odd)
        await them.sees(odd)
        assert us.rows["Order"]["1"]["organizationId"] == US
        assert us.rows["Order"]["1"]["code3"] == "x  "
        for statement in (
            """UPDATE "Shop's"."Order" SET amount = 3, mood = 'Not ok', "bl%sob" = NULL WHERE "Number" = 1""",
            """UPDATE "Shop's"."Order" SET "Number" = 3 WHERE "Number" = 2""",
            """DELETE FROM "Shop's"."Order" WHERE "Number" = 1""",
        ):
            with odd.connect() as connection:
                if 'SET "Number"' in statement:
                    connection.execute("""DELETE FROM "Shop's".lines WHERE "Order" = 2""")
                connection.execute(statement.encode())
            await us.sees(odd)
            await them.sees(odd)
        assert [d["actionType"] for d in us.deltas if d["modelName"] == "Order"] == ["I", "U", "D"]
        assert [d["actionType"] for d in us.deltas if d["modelName"] == "Line"] == ["I", "D"]
        assert next(d["actionType"] for d in them.deltas if d["modelName"] == "Order") == "I"
        assert {d["modelId"] for d in us.deltas} == {"1", "a"}
        assert (us.bootstraps, them.bootstraps) == (0, 0)
