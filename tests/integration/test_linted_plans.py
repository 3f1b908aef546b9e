"""What a push prints for review, whatever has changed, passes other people's linters; no template is left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import jinja2
import pytest
from jinja2 import meta

from pgsync import sqlfiles
from pgsync.compile import bundle_files, compile_schema, runtime
from pgsync.compile.files import model_script
from pgsync.push import Wishes, push
from pgsync.push.connect import connect
from pgsync.schema import Field, Ref
from tests.golden.cases import CASES, schema_of
from tests.integration.changes import CHANGES, ROWS, Change, Project, declare
from tests.linters import all_files, as_psycopg_sends, misparsed, plain_files, queries, squawk
from tests.postgres import Database, Server

BY_HAND: Mapping[str, Mapping[str, object]] = {
    "audit/auditor.sql": {"role": "auditor"},
    "audit/described.sql": {"entries": "audit/row.sql"},
    "connect/replication_role.sql": {"role": "rds_replication"},
    "push/lock.sql": {"table": "public.tasks", "mode": "ACCESS EXCLUSIVE", "nowait": True},
}
"""Templates that no dry run on a server of one's own comes to, with what they are given."""


@dataclass(slots=True)
class Printed:
    """Plans as they are printed, and everything that was rendered meanwhile, by template."""

    plans: dict[str, str] = field(default_factory=dict)
    rendered: dict[str, list[str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def printed(server: Server) -> Iterator[Printed]:
    """The plan of each kind of change, on a filled table or, where only that is possible, an empty one."""
    result = Printed()
    render = sqlfiles.render

    def remember(path: str, **values: Any) -> str:
        text = render(path, **values)
        result.rendered.setdefault(path, []).append(text)
        return text

    databases = [server.create_database() for _ in range(3)]
    empty, filled, referring = databases
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlfiles, "render", remember)
            runtime.migrations.cache_clear()
            runtime.function_files.cache_clear()
            result.plans["first push"] = str(push(empty.dsn, declare(), dry_run=True))
            for each in (empty, filled):
                push(each.dsn, declare())
            filled.execute(ROWS.format(count=30))
            for name, change in CHANGES.items():
                with before(server, change, filled) as dsn:
                    result.plans[name] = str(push(dsn, change.after(), wishes=change.wishes, dry_run=True))
            retyped = CHANGES["another type"]
            plan = push(empty.dsn, retyped.after(), wishes=retyped.wishes, dry_run=True)
            result.plans["another type of an empty table"] = str(plan)
            filled.execute("ALTER TABLE tasks ADD COLUMN note_retyped date")
            filled.execute("COMMENT ON COLUMN tasks.note_retyped IS '[pgsync retype] ..'")
            result.plans["a type given up"] = str(push(filled.dsn, declare(), dry_run=True))
            push(referring.dsn, declare(title=(str, Field(index=True)), project_id=_reference("set null")))
            referring.execute(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tasks_organization_id_title_idx'::regclass"
            )
            again = declare(title=(str, Field(index=True)), project_id=_reference("cascade"))
            plan = push(referring.dsn, again, wishes=Wishes(force=True), dry_run=True)
            result.plans["another action, and an index that was interrupted"] = str(plan)
            result.plans["connect"] = connect(empty.dsn, pusher="somebody", dry_run=True).sql
            for name in CASES:
                bundle = compile_schema(schema_of(name).resolved)
                bundle_files(bundle, migrate=True)
                model_script(bundle)
            for path in sqlfiles.names("fit"):
                sqlfiles.render(path)
            for path, values in BY_HAND.items():
                sqlfiles.render(path, **values)
        yield result
    finally:
        for each in databases:
            each.drop()


@contextmanager
def before(server: Server, change: Change, filled: Database) -> Iterator[str]:
    """A database with rows and what comes before the change."""
    if change.before is None:
        yield filled.dsn
        return
    other = server.create_database(template=filled.name)
    try:
        push(other.dsn, change.before(), force=True)
        yield other.dsn
    finally:
        other.drop()


def _reference(action: Literal["set null", "cascade"]) -> tuple[object, object]:
    return (Ref[Project] | None, Field(None, on_delete=action))


def test_plans_pass_squawk(printed: Printed) -> None:
    assert len(printed.plans) >= 25
    assert squawk(printed.plans) == []


def test_plans_and_what_is_asked_for_them_parse(printed: Printed) -> None:
    texts = printed.plans | {
        f"{path} ({number})": as_psycopg_sends(text) if "%(" in text else text
        for path, found in printed.rendered.items()
        if not path.startswith("bundle/")
        for number, text in enumerate(dict.fromkeys(found))
    }
    assert [problem for name, text in texts.items() for problem in misparsed(name, text)] == []


def test_every_file_is_judged(printed: Printed) -> None:
    assert set(all_files()) - {*plain_files()} - {*queries()} - {*included(printed.rendered)} == set()


def included(rendered: Iterable[str]) -> Iterator[str]:
    """The templates that were rendered and those that they include, and so on."""
    environment = jinja2.Environment(autoescape=True)  # to be read, not rendered
    for path in rendered:
        yield path
        found = meta.find_referenced_templates(environment.parse(sqlfiles.read(path)))
        yield from included(name for name in found if name is not None)  # else its name is a value
