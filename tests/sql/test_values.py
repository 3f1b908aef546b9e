"""Every value of every type arrives in its column as it was sent, whatever the session's settings."""

from __future__ import annotations

import json

import pytest

from tests.sql.conftest import World, ok, refused

# field, JSON as sent, the column's text afterwards (None: null)
VALUES = [
    ("text", '"plain"', "plain"),
    ("text", '""', ""),
    ("text", '"quote \' back\\\\slash $$ %s \\n tab\\t ü 🦆"', "quote ' back\\slash $$ %s \n tab\t ü 🦆"),
    ("text", "null", None),
    ("flag", "true", "true"),
    ("flag", "false", "false"),
    ("small", "2147483647", "2147483647"),
    ("small", "-2147483648", "-2147483648"),
    ("small", '"7"', "7"),
    ("small", "1e3", "1000"),
    ("large", "9223372036854775807", "9223372036854775807"),
    ("large", '"9223372036854775807"', "9223372036854775807"),
    ("large", "-9223372036854775808", "-9223372036854775808"),
    ("large", "9007199254740993", "9007199254740993"),
    ("exact", "12345678901234567890.123456789012345", "12345678901234567890.123456789012345"),
    ("exact", '"12345678901234567890.123456789012345"', "12345678901234567890.123456789012345"),
    ("exact", "1.50", "1.50"),
    ("exact", '"NaN"', "NaN"),
    ("exact", '"Infinity"', "Infinity"),
    ("exact", '"-Infinity"', "-Infinity"),
    ("exact", "1e-20", "0.00000000000000000001"),
    ("ratio", "0.1", "0.1"),
    ("ratio", "1.7976931348623157e308", "1.7976931348623157e+308"),
    ("ratio", "5e-324", "5e-324"),
    ("ratio", '"NaN"', "NaN"),
    ("ratio", '"Infinity"', "Infinity"),
    ("ratio", '"-Infinity"', "-Infinity"),
    ("ratio", '"-0"', "-0"),
    ("moment", '"2026-01-02T03:04:05.678Z"', "2026-01-02 03:04:05.678+00"),
    ("moment", '"2026-01-02T03:04:05.678901Z"', "2026-01-02 03:04:05.678901+00"),
    ("moment", '"2026-01-02T03:04:05+05:30"', "2026-01-01 21:34:05+00"),
    ("moment", '"0001-01-01T00:00:00Z"', "0001-01-01 00:00:00+00"),
    ("moment", '"infinity"', "infinity"),
    ("day", '"2024-02-29"', "2024-02-29"),
    ("day", '"-infinity"', "-infinity"),
    ("ref", '"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"', "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("document", '{"a": [1, {"b": null}], "n": 9007199254740993}', '{"a": [1, {"b": null}], "n": 9007199254740993}'),
    ("document", '"text"', '"text"'),
    ("document", "[]", "[]"),
    ("document", "null", None),
    ("words", "[]", "{}"),
    (
        "words",
        '["a", "", "b,c", "\\"q\\"", null, "NULL", "{}", "ü\\\\"]',
        '{a,"","b,c","\\"q\\"",NULL,"NULL","{}","ü\\\\"}',
    ),
    ("numbers", "[1, -2, null]", "{1,-2,NULL}"),
    ("bigs", '[9223372036854775807, "-9223372036854775808"]', "{9223372036854775807,-9223372036854775808}"),
    ("flags", "[true, false, null]", "{t,f,NULL}"),
    ("exacts", '[0.10, "12345678901234567890.5", "NaN"]', "{0.10,12345678901234567890.5,NaN}"),
    ("ratios", '[0.1, "Infinity"]', "{0.1,Infinity}"),
    ("moments", '["2026-01-02T03:04:05.678901Z"]', '{"2026-01-02 03:04:05.678901+00"}'),
    ("days", '["2026-01-02", null]', "{2026-01-02,NULL}"),
    ("refs", '["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]', "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"),
    ("words", "null", None),
]


def test_every_value_arrives_as_it_was_sent_by_create_and_by_update(wide: World) -> None:
    ada = wide.caller()
    # A session of other habits: a value's meaning must not hang on them.
    ada.connection.execute(
        "SET extra_float_digits = -15; SET bytea_output = 'escape'; SET IntervalStyle = 'sql_standard'"
    )
    found, wanted = [], []
    for n, (field, sent, text) in enumerate(VALUES):
        ok(ada.create("samples", f"c{n}", f'{{"{field}": {sent}}}'))
        ok(ada.create("samples", f"u{n}"))
        ok(ada.update("samples", f"u{n}", f'{{"{field}": {sent}}}'))
        for row_id in (f"c{n}", f"u{n}"):
            found += [(field, sent, *wide.sql(f"SELECT {field}::text FROM samples WHERE id = %s", row_id))]
            wanted += [(field, sent, text)]
    assert found == wanted


def test_moments_without_a_zone_mean_utc_where_the_session_says_so(wide: World) -> None:
    ada = wide.caller()
    ok(ada.create("samples", "s1", {"moment": "2026-01-02T03:04:05"}))
    assert wide.sql("SELECT moment::text FROM samples") == ["2026-01-02 03:04:05+00"]


def test_left_out_fields_get_their_defaults_and_null_stays_null_where_it_may(wide: World) -> None:
    ada = wide.caller()
    ok(ada.create("samples", "s1"))
    columns = "text_or, flag_or, large_or, exact_or::text, ratio_or::text, words_or, document_or"
    expected = ("x", True, -(2**63), "12345678901234567890.5", "NaN", ["a", "b'"], {"a": [1, None, "$"]})
    assert wide.sql(f"SELECT {columns} FROM samples") == [expected]
    wide.sql("INSERT INTO samples (organization_id, id) VALUES ('acme', 's2')")
    assert wide.sql(f"SELECT {columns} FROM samples WHERE id = 's2'") == [expected], "the same by direct SQL"
    answer = refused(ada.create("samples", "s3", {"textOr": None}))
    assert (answer.code, answer.field) == ("23502", "textOr")


def test_texts_that_look_like_sql_are_texts(wide: World) -> None:
    ada = wide.caller("acme", "ada", "workspace:w1")
    ok(ada.create("workspaces", "w1", {"name": "'; DROP TABLE workspaces; --"}))
    for n, kind in enumerate(["it's", "back\\slash", "$function$"]):
        ok(ada.create("documents", str(n), {"workspace_id": "w1", "kind": kind}))
    assert wide.sql("SELECT kind FROM documents ORDER BY id") == ["it's", "back\\slash", "$function$"]
    answer = refused(ada.create("documents", "9", {"workspace_id": "w1", "kind": "$other$"}))
    assert (answer.code, answer.field) == ("23514", "kind")
    ok(ada.create("folders", None))
    assert wide.sql("SELECT label FROM folder_list") == ["it's $new$ \\ folder"]


def test_update_leaves_what_it_does_not_name(wide: World) -> None:
    ada = wide.caller()
    everything = {"text": "t", "words": ["a"], "document": {"a": 1}, "exact": "1.5", "moment": "2026-01-02T03:04:05Z"}
    ok(ada.create("samples", "s1", everything))
    before = wide.sql("SELECT to_jsonb(s) - 'text' - 'updated_at' FROM samples AS s")
    ok(ada.update("samples", "s1", {"text": "u"}))
    ok(ada.update("samples", "s1", {}))
    assert wide.sql("SELECT to_jsonb(s) - 'text' - 'updated_at' FROM samples AS s") == before
    assert wide.sql("SELECT text, updated_at > created_at FROM samples") == [("u", True)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("large", 2**63),
        ("large", -(2**63) - 1),
        ("small", "x"),
        ("ratio", 1e308 * 10),
        ("ratio", "inf-ish"),
        ("exact", "1,5"),
        ("moment", "2026-13-01T00:00:00Z"),
        ("day", "2026-02-29"),
        ("ref", "a0eebc99"),
        ("numbers", ["x"]),
        ("days", ["2026-02-29"]),
        ("refs", [1]),
    ],
)
def test_values_that_a_column_cannot_hold_are_refused_and_diagnosed(wide: World, field: str, value: object) -> None:
    ada = wide.caller()
    sent = json.dumps({field: value}).replace("Infinity", "1e400")
    answer = refused(ada.create("samples", "s1", sent))
    assert answer.code.startswith("22")
    row = ada.connection.execute("SELECT pgsync.diagnose_v1('samples', %s)", [sent]).fetchone()
    assert row is not None
    assert [each["field"] for each in row[0]] == [field]
    assert wide.sql("SELECT count(*) FROM samples") == [0]


@pytest.mark.parametrize("number", ['"1e-16383"', '"1e131071"', '"1e-0000000016383"'])
def test_numbers_that_the_log_could_not_carry_are_refused(wide: World, number: str) -> None:
    ada = wide.caller()
    few, many = ",".join([number] * 100), ",".join([number] * 2000)
    ok(ada.create("samples", "r1", f'{{"exacts": [{few}]}}'))
    answer = refused(ada.create("samples", "r2", f'{{"exacts": [{many}]}}'))
    assert (answer.code, answer.field) == ("22003", "exacts")
    answer = refused(ada.update("samples", "r1", f'{{"exacts": [{many}]}}'))
    assert (answer.code, answer.field) == ("22003", "exacts")
    ok(ada.create("samples", "r3", f'{{"exacts": [{",".join(["0.1e-7"] * 20_000)}]}}'))
