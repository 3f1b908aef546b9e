"""A read rule: what is accepted, how it looks as SQL, whom it lets read a row, and what is refused by name."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync.expression import Reader, RuleError, compile_rule, compile_verdict, parse_rule, render_rule, rule_of
from pgsync.expression.match import array_elements
from pgsync.models import Field, Kind, Model

FIELDS = [
    Field("id", "id", Kind.TEXT, "text", base=True),
    Field("assigneeId", "assignee_id", Kind.TEXT, "text"),
    Field("status", "status", Kind.TEXT, "text"),
    Field("done", "done", Kind.BOOLEAN, "boolean"),
    Field("hidden", "hidden", Kind.BOOLEAN, "boolean"),
    Field("priority", "priority", Kind.INTEGER, "integer"),
    Field("price", "price", Kind.DECIMAL, "numeric"),
    Field("score", "score", Kind.FLOAT, "double precision"),
    Field("due", "due", Kind.DATE, "date"),
    Field("seenAt", "seen_at", Kind.TIMESTAMPTZ, "timestamp with time zone"),
    Field("token", "token", Kind.UUID, "uuid"),
    Field("tags", "tags", Kind.TEXT, "text[]", array=True),
    Field("numbers", "numbers", Kind.INTEGER, "integer[]", array=True),
    Field("data", "data", Kind.JSON, "jsonb"),
    Field("code", "code", Kind.TEXT, "character(5)"),
]
NOBODY = Reader(None, None, None)
ANN = Reader("ann", "user", "acme", frozenset({"org:acme", "team:red"}))
ROW: dict[str, str | None] = dict.fromkeys(f.column for f in FIELDS)


def row(**values: str | None) -> dict[str, str | None]:
    return ROW | values


def verdict(text: str, reader: Reader = ANN, /, **values: str | None) -> bool | None:
    return compile_verdict(parse_rule(text, FIELDS))(row(**values), reader)


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        (
            "assignee_id = actor.id OR status = 'public'",
            "((assignee_id = (SELECT pgsync.participant_id())) OR (status = 'public'))",
        ),
        ("NOT done AND priority >= -2", "((NOT done) AND (priority >= -2))"),
        ("actor.kind <> 'agent'", "((SELECT pgsync.participant_kind()) <> 'agent')"),
        ("actor.organization_id IN ('a', 'b')", "((SELECT pgsync.organization_id()) IN ('a', 'b'))"),
        ("status = ANY(actor.groups)", "(status = ANY ((SELECT pgsync.actor_groups())::pg_catalog.text[]))"),
        ("actor.id = ANY(tags)", "((SELECT pgsync.participant_id()) = ANY (tags))"),
        ("token = actor.id", "(token::pg_catalog.text = (SELECT pgsync.participant_id()))"),
        ("due IS NOT NULL AND data IS NULL", "((due IS NOT NULL) AND (data IS NULL))"),
        ("'2026-01-31' < due", "('2026-01-31'::pg_catalog.date < due)"),
        (
            "seen_at <= '2026-01-31T12:00:00.5+02:00'",
            "(seen_at <= '2026-01-31 10:00:00.500000+00'::pg_catalog.timestamptz)",
        ),
        (
            "token = '6F9619FF-8B86-D011-B42D-00C04FC964FF'",
            "(token = '6f9619ff-8b86-d011-b42d-00c04fc964ff'::pg_catalog.uuid)",
        ),
        ("status = 'it''s \\'", "(status = E'it''s \\\\')"),
        ("priority BETWEEN 1 AND 3", "((priority >= 1) AND (priority <= 3))"),
        ("price NOT IN (1, 2.50)", "(NOT (price IN (1, 2.50)))"),
        ("done OR TRUE", "(done OR TRUE)"),
        ("\"status\" = 'x' -- why", "(status = 'x')"),
    ],
)
def test_rule_renders_to_plain_sql(text: str, sql: str) -> None:
    rule = parse_rule(text, FIELDS)
    assert render_rule(rule) == sql
    assert render_rule(parse_rule(text, FIELDS)) == sql


def test_rule_tells_its_columns_and_whether_it_depends_on_the_reader() -> None:
    rule = parse_rule("status = 'x' OR done OR status IS NULL", FIELDS)
    assert (rule.columns, rule.uses_actor) == (("done", "status"), False)
    assert parse_rule("actor.kind = 'user'", FIELDS).uses_actor
    assert render_rule(rule, alias="t").startswith("((t.status = 'x') OR t.done")


@pytest.mark.parametrize(
    ("text", "construct"),
    [
        ("lower(status) = 'x'", "LOWER"),
        ("status LIKE 'x%'", "LIKE"),
        ("status < 'x'", "collation"),
        ("status > assignee_id", "collation"),
        ("status = 5", "status (text)"),
        ("priority = 'high'", "priority (integer)"),
        ("priority = done", "done (boolean)"),
        ("done = actor.id", "actor.id (text)"),
        ("due = seen_at", "seen_at"),
        ("price = score", "double precision with numeric"),
        ("seen_at > '2026-01-01T00:00:00'", "no time zone"),
        ("due > '2026-02-30'", "not a date"),
        ("token = 'abc'", "not a UUID"),
        ("status = NULL", "IS NULL"),
        ("status IN ('a', NULL)", "NULL"),
        ("done IS TRUE", "IS takes only NULL"),
        ("status IS DISTINCT FROM 'x'", "IS DISTINCT FROM"),
        ("nope = 1", "no column"),
        ("assigneeId = 'x'", "assignee_id"),
        ("t.status = 'x'", "own row"),
        ("actor.email = 'x'", "an actor has"),
        ("actor.groups = 'x'", "ANY (actor.groups)"),
        ("actor.kind = 'robot'", "user, agent, system"),
        ("tags = 'x'", "is an array"),
        ("status <> ANY(tags)", "only ="),
        ("status = ANY(ARRAY['x'])", "ARRAY"),
        ("status IN (SELECT status FROM tasks)", "query"),
        ("EXISTS (SELECT 1)", "EXISTS"),
        ("data = 'x'", "is JSON"),
        ("data ->> 'a' = 'x'", "JSONEXTRACT"),
        ("code = 'x'", "character(5)"),
        ("status", "not true or false by itself"),
        ("'x'", "LITERAL"),
        ("status = 'a'; DROP TABLE x", "not one expression"),
        ("status =", "not an SQL expression"),
        ("", "not one expression"),
        ("SELECT 1", "SELECT"),
        ("(status, done) = ('a', true)", "TUPLE"),
        ("status COLLATE \"C\" = 'x'", "COLLATE"),
        ("priority + 1 = 2", "ADD"),
        ("status::int = 2", "CAST"),
        ("status = $1", "PARAMETER"),
        ("status = E'x'", "BYTE STRING"),
        ("CASE WHEN done THEN true END", "CASE"),
        ("done = ANY(actor.groups)", "done (boolean)"),
        ("priority = 1e300", "too long"),
        ("(" * 25 + "done" + ")" * 25, "nested deeper"),
        ("(" * 3000 + "done" + ")" * 3000, "nested deeper"),
        ("status = '" + "x" * 10_000 + "'", "longer than"),
    ],
)
def test_what_cannot_be_decided_alike_is_refused_by_name_with_a_remedy(text: str, construct: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule(text, FIELDS)
    assert construct.lower() in str(caught.value).lower()
    assert all(refusal.remedy for refusal in caught.value.refusals)


def test_every_reason_is_told_at_once() -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule("lower(status) = 'x' AND (nope = 1 OR NOT status < 'b') AND other = alien", FIELDS)
    assert len(caught.value.refusals) == 5


def test_long_chain_of_terms_is_not_deep() -> None:
    text = " OR ".join(f"priority = {n}" for n in range(300))
    assert verdict(text, priority="299") is True
    assert verdict(text, priority="300") is False


TRUTH = {True: "TRUE", False: "FALSE", None: "NULL"}


@pytest.mark.parametrize(("a", "b"), list(itertools.product((True, False, None), repeat=2)))
def test_connectives_follow_the_truth_tables_of_sql(a: bool | None, b: bool | None) -> None:
    text = {True: "t", False: "f", None: None}
    values = {"done": text[a], "hidden": text[b]}
    both = False if a is False or b is False else None if a is None or b is None else True
    either = True if a is True or b is True else None if a is None or b is None else False
    assert verdict("done AND hidden", **values) is both
    assert verdict("done OR hidden", **values) is either
    assert verdict("NOT done", **values) is (None if a is None else not a)
    assert verdict("done = hidden", **values) is (None if a is None or b is None else a is b)
    assert verdict("done IS NULL", **values) is (a is None)


_terms = st.recursive(
    st.sampled_from(["done", "hidden", "TRUE", "FALSE", "done IS NULL", "done = hidden", "hidden IN (done, true)"]),
    lambda inner: (
        st.tuples(st.just("NOT"), inner)
        | st.tuples(st.just("AND"), inner, inner)
        | st.tuples(st.just("OR"), inner, inner)
    ),
    max_leaves=8,
)


def _write(term: object) -> str:
    match term:
        case ("NOT", inner):
            return f"NOT ({_write(inner)})"
        case (word, left, right):
            return f"({_write(left)}) {word} ({_write(right)})"
    return str(term)


def _judge(term: object, done: int | None, hidden: int | None) -> int | None:
    """Kleene's logic by arithmetic: false 0, NULL 1, true 2."""
    level = {None: 1, 0: 0, 1: 2}
    d, h = level[done], level[hidden]
    equal = 1 if 1 in (d, h) else 2 if d == h else 0
    match term:
        case ("NOT", inner):
            return 2 - (_judge(inner, done, hidden) or 0)
        case ("AND", left, right):
            return min(_judge(left, done, hidden) or 0, _judge(right, done, hidden) or 0)
        case ("OR", left, right):
            return max(_judge(left, done, hidden) or 0, _judge(right, done, hidden) or 0)
    return {
        "done": d,
        "hidden": h,
        "TRUE": 2,
        "FALSE": 0,
        "done IS NULL": 2 if done is None else 0,
        "done = hidden": equal,
        "hidden IN (done, true)": max(equal, h),
    }[str(term)]


@given(_terms, st.sampled_from([None, 0, 1]), st.sampled_from([None, 0, 1]))
def test_nested_rules_follow_three_valued_logic(term: object, done: int | None, hidden: int | None) -> None:
    text = {None: None, 0: "f", 1: "t"}
    expected = {0: False, 1: None, 2: True}[_judge(term, done, hidden) or 0]
    assert verdict(_write(term), done=text[done], hidden=text[hidden]) is expected


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("assignee_id = actor.id", {"assignee_id": "ann"}, True),
        ("assignee_id = actor.id", {"assignee_id": "bob"}, False),
        ("assignee_id = actor.id", {}, None),
        ("assignee_id <> actor.id", {}, None),
        ("status IN ('a', assignee_id)", {"status": "b"}, None),
        ("status IN ('a', assignee_id)", {"status": "a"}, True),
        ("status NOT IN ('a')", {"status": "b"}, True),
        ("status = ANY(actor.groups)", {"status": "team:red"}, True),
        ("status = ANY(actor.groups)", {"status": "team:blue"}, False),
        ("status = ANY(tags)", {"status": "x", "tags": "{}"}, False),
        ("status = ANY(tags)", {"tags": "{}"}, False),
        ("status = ANY(tags)", {"tags": "{x}"}, None),
        ("status = ANY(tags)", {"status": "x", "tags": '{NULL,"x"}'}, True),
        ("status = ANY(tags)", {"status": "y", "tags": "{NULL,x}"}, None),
        ("status = ANY(tags)", {"status": "x"}, None),
        ("3 = ANY(numbers)", {"numbers": "{{1},{3}}"}, True),
        ("priority > 9", {"priority": "10"}, True),
        ("price = 1.5", {"price": "1.500"}, True),
        ("price > 1000000000000000000000000000.1", {"price": "1000000000000000000000000000.2"}, True),
        ("price = price", {"price": "NaN"}, True),
        ("price > 5", {"price": "NaN"}, True),
        ("score > 5", {"score": "NaN"}, True),
        ("score = 0", {"score": "-0"}, True),
        ("score < 0", {"score": "-Infinity"}, True),
        ("score = 0.1", {"score": "0.1"}, True),
        ("priority = price", {"priority": "3", "price": "3.0"}, True),
        ("due < '2026-01-31'", {"due": "0044-03-15 BC"}, True),
        ("due > '2026-01-31'", {"due": "infinity"}, True),
        ("due < '2026-01-31'", {"due": "-infinity"}, True),
        ("due > '2026-01-31'", {"due": "12026-01-01"}, True),
        ("seen_at = '2026-01-31T12:00:00+02:00'", {"seen_at": "2026-01-31 10:00:00+00"}, True),
        ("seen_at < '2026-01-31T10:00:00.5Z'", {"seen_at": "2026-01-31 10:00:00.49+00"}, True),
        ("done < hidden", {"done": "f", "hidden": "t"}, True),
        ("token > '00000000-0000-0000-0000-000000000000'", {"token": "00000000-0000-0000-0000-00000000000a"}, True),
        ("actor.kind = 'user' AND actor.organization_id = 'acme'", {}, True),
    ],
)
def test_values_compare_as_postgres_compares_them(
    text: str, values: dict[str, str | None], expected: bool | None
) -> None:
    assert verdict(text, **values) is expected


def test_reader_without_identity_sees_nothing_that_asks_for_one() -> None:
    assert verdict("assignee_id = actor.id OR NOT (assignee_id = actor.id)", NOBODY, assignee_id="x") is None
    assert compile_rule(parse_rule("assignee_id = actor.id", FIELDS))(row(assignee_id="x"), NOBODY) is False
    assert verdict("assignee_id = ANY(actor.groups)", NOBODY) is False


def test_row_without_a_column_of_the_rule_is_an_error_not_a_null() -> None:
    with pytest.raises(KeyError):
        compile_rule(parse_rule("status IS NULL", FIELDS))({}, ANN)


def test_rule_of_a_pushed_model_is_read_from_its_description() -> None:
    model = Model("tasks", "Task", "task", "public", "tasks", "id", "organization_id", tuple(FIELDS), rule="done")
    rule = rule_of(model)
    assert rule is not None
    assert compile_rule(rule)(row(done="t"), ANN)


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("{}", []),
        ('{a,"b c",NULL,"NULL",""}', ["a", "b c", None, "NULL", ""]),
        ('{"a\\"b","c\\\\d","{e,f}"}', ['a"b', "c\\d", "{e,f}"]),
        ("[0:1]={1,2}", ["1", "2"]),
        ("{{1,2},{3,NULL}}", ["1", "2", "3", None]),
        ('{"line\nbreak"}', ["line\nbreak"]),
    ],
)
def test_array_text_gives_its_elements(text: str, elements: list[str | None]) -> None:
    assert array_elements(text) == elements
