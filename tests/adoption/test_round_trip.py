"""Databases that published packages made take pgsync in, are written from three sides, and are as before afterwards.

Each package makes its database by its own migrations, as a role that is no superuser and owns it; its process lives,
with its connections, from before pgsync comes until after it has gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from pgsync import names
from tests.acceptance.conftest import Client
from tests.adoption.conftest import calling, done, owned, pgsync, running, serving
from tests.adoption.dumps import take_dump
from tests.postgres import Database

__all__ = ["owned"]

MARKER: Final = "trip"


@dataclass(frozen=True, slots=True)
class Package:
    """What of a package's models is written by whom.

    `over_http`: a model, the data of a new row, and what is changed of it then; `key` finds it. `by_sql` writes as the
    package's role. `told`: typename and a text of deltas that the three sides cause. `found`: what the package sees of
    what others wrote. `written`: how many rows are new at the end. `tables`: those that are pulled.
    `pusher`: whether the package's own role pushes, in place of a superuser; `crowded`: among 500 other tables.
    """

    program: str
    over_http: tuple[str, Mapping[str, Any], Mapping[str, Any]]
    key: Mapping[str, str]
    by_sql: str
    told: tuple[tuple[str, str], ...]
    found: tuple[str, ...]
    written: Mapping[str, int]
    tables: tuple[str, ...]
    pusher: bool = False
    crowded: bool = False


PACKAGES: Final = (
    Package(
        "contrib",
        ("authGroup", {"name": f"{MARKER}-http"}, {"name": f"{MARKER}-http, changed"}),
        {"name": f"{MARKER}-http"},
        f"INSERT INTO django_site (domain, name) VALUES ('{MARKER}.example.org', '{MARKER}-sql')",
        (("AuthGroup", f"{MARKER}-http"), ("DjangoSite", f"{MARKER}-sql"), ("AuthUser", f"{MARKER}-orm")),
        (f"{MARKER}-http, changed",),
        {"public.auth_group": 1, "public.django_site": 1, "public.auth_user": 1},
        tables=("auth_*", "django_*"),
        crowded=True,
    ),
    Package(
        "site",
        ("taggitTag", {"name": f"{MARKER} http", "slug": f"{MARKER}-http"}, {"name": f"{MARKER} http, changed"}),
        {"slug": f"{MARKER}-http"},
        f"INSERT INTO wagtailembeds_embed (url, hash, type, html, last_updated, title, author_name, provider_name,"
        f" thumbnail_url) VALUES ('http://{MARKER}', '{MARKER}', 'link', '', now(), '', '', '', '')",
        (("TaggitTag", f"{MARKER}-http"), ("WagtailembedsEmbed", f"http://{MARKER}"), ("TaggitTag", f"{MARKER}-own")),
        (f"{MARKER}-http", f"{MARKER}-own"),
        {"public.taggit_tag": 2, "public.wagtailembeds_embed": 1},
        tables=("auth_*", "django_*", "taggit_*", "wagtail*"),
    ),
    Package(
        "jobs",
        (
            "procrastinateJobs",
            {"queue_name": "notes", "task_name": "tests.note", "args": {"text": f"{MARKER}-http"}},
            {"priority": 3},
        ),
        {"status": "todo", "queue_name": "notes"},
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args)"
        f""" VALUES ('notes', 'tests.note', '{{"text": "{MARKER}-sql"}}')""",
        (
            *(("ProcrastinateJob", f"{MARKER}-{side}") for side in ("http", "sql", "own")),
            ("ProcrastinateEvent", "succeeded"),
        ),
        (f"{MARKER}-http", f"{MARKER}-own", f"{MARKER}-sql"),
        {"public.procrastinate_jobs": 3, "public.procrastinate_events": 9},
        tables=("procrastinate_*",),
        pusher=True,
    ),
)


@pytest.mark.parametrize("package", PACKAGES, ids=[p.program for p in PACKAGES])
async def test_database_of_a_published_package_is_adopted_and_given_back(
    owned: tuple[Database, str], package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, role = owned
    admin = database.dsn
    own = database.dsn_as(role)
    monkeypatch.setenv("DATABASE_URL", own if package.pusher else admin)
    with running(package.program, own) as program:
        program.do("migrate")
        program.do("seed")
        if package.crowded:
            crowd(database, role)
        worked = program.do("exercise")
        seen = program.do("look")
        before = take_dump(database)
        others = of_crowd(database)
        assert len(others) == (1000 if package.crowded else 0)  # and their indexes

        def is_as_ever() -> None:
            assert program.do("exercise") == worked
            assert program.do("look") == seen

        pushers = ("--pusher", role) if package.pusher else ()
        connected = done("connect", "--database-url", admin, *pushers)
        settings = dict(line.split("=", 1) for line in connected.out.splitlines())
        schema = tmp_path / "schema.py"
        schema.write_text(done("pull", *(f"--table={pattern}" for pattern in package.tables)).out)
        checked = pgsync("check", str(schema))
        assert checked.code in (0, 4), checked.out
        done("push", str(schema), "--dry-run")
        done("push", str(schema))
        assert done("push", str(schema), "--check").out.startswith("in sync: version 1")
        is_as_ever()

        key = done("keys", "create", "--organization", "anybody").out.strip()
        async with serving(settings, deployment=database.name) as url, calling(url, key) as client:
            await write_from_three_sides(package, client, database, role, program.do)
            assert program.do("find", MARKER) == list(package.found)
        is_as_ever()

        uninstalled = pgsync("uninstall", "--run", "--yes")
        if package.pusher:  # it may not drop the slot that the gateway has left
            assert (uninstalled.code, "SELECT pg_drop_replication_slot" in uninstalled.err) == (1, True), uninstalled
            with database.connect(names.LISTENER) as listener:
                listener.execute("SELECT pg_drop_replication_slot(%s)", [f"pgsync_{database.name}"])
            uninstalled = done("uninstall", "--run", "--yes")
        assert uninstalled.code == 0, uninstalled
        is_as_ever()
        assert program.do("find", MARKER) == list(package.found)
        assert of_crowd(database) == others
    more = take_dump(database).more_than(before)
    assert {table: len(rows) for table, rows in more.items()} == package.written, more


def crowd(database: Database, role: str) -> None:
    """500 tables that nobody asks pgsync for, among the others."""
    with database.connect(role) as connection:
        connection.execute(
            "DO $$ BEGIN FOR n IN 1..500 LOOP EXECUTE format("
            "'CREATE TABLE other_%s (id bigint PRIMARY KEY, organization_id text)', n); END LOOP; END $$"
        )


def of_crowd(database: Database) -> list[tuple[Any, ...]]:
    """What the catalog says of them, with the transaction that wrote it last: any change of them is one of this."""
    return database.execute(
        "SELECT c.oid, c.xmin::text, c.relname, c.relacl, (SELECT array_agg(a.xmin::text ORDER BY a.attnum)"
        " FROM pg_attribute AS a WHERE a.attrelid = c.oid),"
        " (SELECT count(*) FROM pg_depend AS d WHERE c.oid IN (d.objid, d.refobjid)),"
        " (SELECT count(*) FROM pg_stat_all_tables AS s WHERE s.relid = c.oid AND s.n_tup_ins + s.seq_scan > 0)"
        " FROM pg_class AS c WHERE c.relname LIKE 'other\\_%' ORDER BY c.relname"
    )


async def write_from_three_sides(
    package: Package, client: Client, database: Database, role: str, do: Callable[..., Any]
) -> None:
    """A subscriber sees what is written over HTTP, by SQL and by the package, as rows and with who it was."""
    model, data, change = package.over_http
    async with client.socket() as socket:
        await socket.sync()
        made = await client.create(model, None, data)
        assert made.status == 200, made.body
        (row,) = (await client.get(f"/api/v1/models/{model}?{urlencode(package.key)}")).json["data"]
        row_id = str(row["id"])
        changed = await client.update(model, row_id, change)
        assert changed.status == 200, changed.body
        with database.connect(role) as connection:
            connection.execute(package.by_sql.encode())
        do("write", MARKER)
        untold = set(package.told)
        while untold:
            payload = await socket.wait_for("delta")
            for delta in payload["deltas"] if isinstance(payload, dict) and "deltas" in payload else [payload]:
                untold -= {(name, text) for name, text in untold if name == delta["modelName"] and text in str(delta)}
        row = await client.row(model, row_id)
        assert {name: row[name] for name in {**data, **change}} == {**data, **change}
