"""The contract's hashes: equal to what a TypeScript client computes.

The vectors were computed by Node.js; the property holds the implementation to a slow one written another way.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync.schema import Field, Model, Ref, Schema, model_hash, schema_hash
from pgsync.schema.hash import canonical_json, fnv1a

VECTORS = [
    ("null", "null", "77074ba4"),
    ("true", "true", "4db211e5"),
    ('""', '""', "ffcaaa85"),
    ("{}", "{}", "5465b825"),
    ("[]", "[]", "741638a5"),
    (
        '"h\\u00e9llo \\ud83d\\ude00 \\u2028\\u007f\\u0001\\n\\"\\\\/"',
        '"h\u00e9llo \U0001f600 \u2028\u007f\\u0001\\n\\"\\\\/"',
        "a15db410",
    ),
    ('"\\ud800 lone \\udc00"', '"\\ud800 lone \\udc00"', "f0a24742"),
    (
        '{"\\ud83d\\ude00":1,"\\uffff":2,"a":3,"B":4,"10":5,"9":6}',
        '{"10":5,"9":6,"B":4,"a":3,"\U0001f600":1,"\uffff":2}',
        "c0778f27",
    ),
    (
        "[0,-0,1,-1,1.0,1e21,1e20,123456789012345680000,0.1,1e-6,1e-7,1.5e300,5e-324,9007199254740993,1e400,-2.5e-8,"
        "100,1e2,12345.678,123456789.12345678,4.35,0.000001234]",
        "[0,0,1,-1,1,1e+21,100000000000000000000,123456789012345680000,0.1,0.000001,1e-7,1.5e+300,5e-324,"
        "9007199254740992,null,-2.5e-8,100,100,12345.678,123456789.12345678,4.35,0.000001234]",
        "55c83694",
    ),
    ('{"a":{"c":[1,{"b":null}],"b":false},"A":""}', '{"A":"","a":{"b":false,"c":[1,{"b":null}]}}', "04d5d88b"),
]


@pytest.mark.parametrize(("text", "canonical", "expected"), VECTORS)
def test_values_are_spelled_and_hashed_as_node_does(text: str, canonical: str, expected: str) -> None:
    value = json.loads(text)
    assert canonical_json(value) == canonical
    assert fnv1a(value) == expected


def test_python_schema_with_contract_features_only_has_the_hashes_of_its_typescript_twin() -> None:
    # defineSchema({ projects: model({ name: field.string() }, { typename: 'Project', load: 'lazy',
    #   groups: { root: true } }), tasks: model({ title: field.string(), status: field.enum(['todo', 'doing', 'done']),
    #   projectId: field.string().indexed().optional() }, { typename: 'Task', conflict: { agent: 'reject' }, relations:
    #   { project: relation.belongsTo('projects', 'projectId', { parent: true, fk: true }) } }) },
    #   { casing: 'snake_case' })
    class Project(Model, load="lazy", scope=True):
        name: str

    class Task(Model, conflict={"agent": "reject"}):
        title: str
        status: Literal["todo", "doing", "done"]
        projectId: Ref[Project] | None = Field(None, parent=True)  # noqa: N815  the name on the wire

    schema = Schema(Project, Task)
    assert schema.hash == "846612b4"
    assert {m.key: m.hash for m in schema.resolved.models} == {"projects": "5bb431b0", "tasks": "18eaa5cd"}


def test_what_schema_json_cannot_carry_takes_no_part_in_the_hash() -> None:
    class Plain(Model, key="things", typename="Thing"):
        count: float
        due: str | None

    class Rich(Model, key="things", typename="Thing", rule="due = actor.id", claims="enforced", preempt=True):
        count: float = 1.5
        due: str | None = Field("x", unique=True)

    assert Schema(Plain).hash == Schema(Rich).hash
    assert Schema(Plain) != Schema(Rich)


_numbers = (
    st.floats(allow_nan=False) | st.integers(-(10**25), 10**25) | st.sampled_from([2**53, -(2**53), 10**20, 10**21])
)
_texts = st.text(st.characters(exclude_categories=())) | st.sampled_from(["\ud83d\ude00", "\ud83d", "\ufffe\U00010000"])
_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | _numbers | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


@given(_values)
def test_hash_equals_a_slow_independent_implementation(value: Any) -> None:
    assert fnv1a(value) == slow_hash(value)


@given(st.dictionaries(_texts.filter(lambda k: k != "pgsync"), _values, max_size=4), _values)
def test_only_the_extension_key_is_left_out(document: dict[str, Any], extension: Any) -> None:
    assert schema_hash({**document, "pgsync": extension}) == schema_hash(document) == model_hash(document)


def slow_hash(value: Any) -> str:
    state = 2166136261
    for unit in units(slow_json(value)):
        state = (state ^ unit) * 16777619 % 2**32
    return format(state, "08x")


def units(text: str) -> list[int]:
    result = []
    for char in text:
        point = ord(char)
        if point > 0xFFFF:
            result += [0xD800 + (point - 0x10000) // 0x400, 0xDC00 + (point - 0x10000) % 0x400]
        else:
            result.append(point)
    return result


def slow_json(value: Any) -> str:
    match value:
        case None | True | False:
            return json.dumps(value)
        case int() | float():
            return slow_number(value)
        case str():
            joined = re.sub(
                "[\ud800-\udbff][\udc00-\udfff]",
                lambda m: chr(0x10000 + (ord(m[0][0]) - 0xD800) * 0x400 + ord(m[0][1]) - 0xDC00),
                value,
            )
            return re.sub("[\ud800-\udfff]", lambda m: f"\\u{ord(m[0]):x}", json.dumps(joined, ensure_ascii=False))
        case list():
            return "[" + ",".join(map(slow_json, value)) + "]"
    keys = sorted(value, key=units)
    return "{" + ",".join(slow_json(key) + ":" + slow_json(value[key]) for key in keys) + "}"


def slow_number(value: float) -> str:
    try:
        value = float(value)
    except OverflowError:
        return "null"
    if value in (float("inf"), float("-inf")):
        return "null"
    if value == 0:
        return "0"
    text = repr(value)
    if 1e-6 <= abs(value) < 1e21:
        fixed = format(Decimal(text), "f")
        return fixed.rstrip("0").rstrip(".") if "." in fixed else fixed
    return re.sub(r"\.0(?=e|$)", "", text).replace("e-0", "e-").replace("e+0", "e+")
