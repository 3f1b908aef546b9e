"""What a schema says cannot become SQL of its author's own, and what was reviewed is what runs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync.compile import Bundle, bundle_files, compile_schema
from pgsync.names import literal, quote
from pgsync.schema import Schema, SchemaError

HOSTILE = [
    "x$function$ SET check_function_bodies = off; DROP TABLE t; --",
    "$$; DROP TABLE t; --",
    "$foreign_key$; DROP TABLE t; --",
    "'; DROP TABLE t; --",
    "\\'; DROP TABLE t; --",
    "\n-- x\nDROP TABLE t; --",
    "%s %I {{ 7 * 7 }} {% raw %}",
]


def document(**model: Any) -> dict[str, Any]:
    """A SchemaJSON document with one model, as it might come over HTTP."""
    fields = {"status": {"type": "string", "isOptional": False, "isIndexed": False}}
    entry = {"fields": fields, "relations": {}, "load": "instant", "typename": "Task"} | model
    return {"v": 3, "models": {"tasks": entry}, "identityRoles": []}


def compiled(source: dict[str, Any]) -> Bundle:
    return compile_schema(Schema.from_json(source).resolved)


def dollar_quotes(bundle: Bundle) -> list[list[str]]:
    """The dollar quotes of each statement."""
    return [re.findall(r"\$\w*\$", statement.sql) for statement in bundle.statements]


def skeleton(sql: str, name: str) -> str:
    """A statement without comments, literals and this identifier."""
    sql = re.sub(r"^\s*--.*$|(?<=; )-- .*$", "", sql.replace(quote(name), "plain"), flags=re.MULTILINE)
    return re.sub(r"E'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'", "''", sql)


@pytest.mark.parametrize("text", HOSTILE)
def test_enum_value_stays_inside_its_literal(text: str) -> None:
    def with_value(value: str) -> dict[str, Any]:
        field = {"type": "enum", "enumValues": [value, "b"], "isOptional": False, "isIndexed": False}
        return document(fields={"status": field})

    assert dollar_quotes(compiled(with_value(text))) == dollar_quotes(compiled(with_value("a")))


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", ["string", "json"])
def test_default_stays_inside_its_literal(text: str, kind: str) -> None:
    def with_default(value: str) -> dict[str, Any]:
        source = document(fields={"status": {"type": kind, "isOptional": False, "isIndexed": False}})
        source["pgsync"] = {"models": {"tasks": {"strict": True, "fields": {"status": {"default": value}}}}}
        return source

    assert dollar_quotes(compiled(with_default(text))) == dollar_quotes(compiled(with_default("a")))


@pytest.mark.parametrize("text", [*HOSTILE, 'a"b', "order", "Tasks", "ü", "x" * 64, "", "a b", "a;b", "a--b", "a\nb"])
@pytest.mark.parametrize("place", ["typename", "key", "field", "scope"])
def test_name_that_is_no_plain_identifier_is_refused(text: str, place: str) -> None:
    source = document()
    entry = source["models"]["tasks"]
    match place:
        case "typename":
            entry["typename"] = text
        case "key":
            source["models"][text] = source["models"].pop("tasks")
        case "field":
            entry["fields"][text] = entry["fields"].pop("status")
        case "scope":
            entry["scope"] = text
    try:
        compiled(source)
    except SchemaError:
        return
    assert re.fullmatch(r"[A-Za-z_]*", text)  # what is taken needs no quotes and ends no comment


@pytest.mark.parametrize("text", [*HOSTILE, 'a"b', "order", "Orders", "ü", "x" * 64, "a b", "a;b", "a--b", "a\nb"])
@pytest.mark.parametrize("place", ["table", "column", "tenant", "id", "namespace"])
def test_name_of_something_that_exists_stays_inside_its_quotes(text: str, place: str) -> None:
    def named(name: str) -> dict[str, Any]:
        source = document(entityRoles=[{"kind": "x", "source": {"field": "status", "multi": False}}])
        entry = source["models"]["tasks"]
        match place:
            case "table":
                entry["tableName"] = name
            case "column":
                entry["fields"]["status"]["column"] = name
            case "tenant":
                entry["tenancy"] = {"kind": "column", "column": name}
            case "id":
                source["pgsync"] = {"models": {"tasks": {"idColumn": name}}}
            case "namespace":
                source["pgsync"] = {"models": {"tasks": {"namespace": name}}}
        return source

    try:
        bundle = compiled(named(text))
    except SchemaError:
        assert re.search(r"[\n]|\$.*\$", text) or len(text) > 63
        return
    assert [skeleton(s.sql, text) for s in bundle.statements] == [
        skeleton(s.sql, "plain") for s in compiled(named("plain")).statements
    ]


@pytest.mark.parametrize("text", [*HOSTILE, 'public."x', 'public.x"', "a.b.c", "public.Mood", "text", ""])
def test_type_that_is_none_is_refused(text: str) -> None:
    source = document()
    source["pgsync"] = {"models": {"tasks": {"fields": {"status": {"type": text}}}}}
    try:
        compiled(source)
    except SchemaError:
        return
    assert text == "text"


@given(st.text(st.characters(exclude_characters="\0")))
def test_literal_holds_neither_a_dollar_quote_nor_an_open_quote(text: str) -> None:
    quoted = literal(text)
    body = quoted.removeprefix("E")[1:-1]
    assert "$" not in quoted
    assert "'" not in body.replace("''", "")
    if quoted.startswith("E"):
        assert re.sub(r"\\(\\|x24)", "", body).count("\\") == 0
        assert body.replace("\\x24", "$").replace("\\\\", "\\").replace("''", "'") == text or "\\x24" in text
    else:
        assert "\\" not in body
        assert body.replace("''", "'") == text


def test_every_statement_has_an_identity_of_its_own() -> None:
    statements = compiled(document()).statements
    assert len({(s.kind, s.identity) for s in statements}) == len(statements)


def test_bundle_is_one_transaction_that_waits_for_nobody_for_long() -> None:
    text = bundle_files(compiled(document()), migrate=True)["push.sql"]
    assert text.count("\nBEGIN;\n") == text.count("\nCOMMIT;\n") == 1
    assert "SET LOCAL lock_timeout" in text
    assert "SET LOCAL statement_timeout" in text


def test_bundle_makes_no_table_unless_it_may() -> None:
    made = [bundle_files(compiled(document()), migrate=migrate)["push.sql"] for migrate in (False, True)]
    assert ["CREATE TABLE public.tasks" in text for text in made] == [False, True]


def test_every_file_of_a_bundle_says_what_it_does_and_how_to_undo_it() -> None:
    bundle = compiled(document())
    for name, text in bundle_files(bundle, migrate=True).items():
        head = text[: text.index("\n", text.index("-- Run:"))]
        assert all(line.startswith("--") for line in head.splitlines()), name
        for word in ("Made by pgsync", bundle.schema.hash, "Locks:", "Grants:", "Undo:"):
            assert word in head, (name, word)
