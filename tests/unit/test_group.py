"""Messages become whole transactions: what counts, whose it is, who may see it."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsync import models
from pgsync.models import ActiveSchema, Field, Kind, Model
from pgsync.stream.decode import (
    Begin,
    Column,
    Commit,
    Delete,
    Insert,
    LogicalMessage,
    Message,
    Relation,
    Truncate,
    Update,
)
from pgsync.stream.group import NOTICES_BYTES, Group, Grouper, StreamOrderError, widen
from pgsync.stream.ring import keys_of_change
from pgsync.stream.transaction import RESERVED_SYNC_IDS, Change, Membership, Origin
from pgsync.values import UNCHANGED, Value
from tests.unit.test_decode import encode

ID = Field("id", "id", Kind.TEXT, "text", base=True)
TENANT = Field("organizationId", "organization_id", Kind.TEXT, "text", base=True)
TITLE = Field("title", "title", Kind.TEXT, "text")
PROJECT = Field("projectId", "project_id", Kind.TEXT, "text")
BODY = Field("body", "body", Kind.TEXT, "text")

TASK = Model("tasks", "Task", "task", "public", "tasks", "id", "organization_id", (ID, TENANT, TITLE))
NOTE = Model(
    "notes",
    "Note",
    "note",
    "public",
    "notes",
    "id",
    "organization_id",
    (ID, TENANT, PROJECT, BODY),
    groups=(models.Group("project", "project_id"),),
)
MEMBER = Model(
    "members",
    "Member",
    "member",
    "public",
    "members",
    "id",
    "organization_id",
    (ID, TENANT, TITLE, PROJECT),
    grants=models.Grants("title", "project_id", "project"),
)
COUNTRY = Model("countries", "Country", "country", "public", "countries", "id", None, (ID, TITLE))
SCHEMA = ActiveSchema(3, "h", None, (TASK, NOTE, COUNTRY, MEMBER))


def _relation(oid: int, model: Model, *, keys: tuple[str, ...] = ("id", "organization_id")) -> Relation:
    columns = [Column(f.column, f.column in keys, 25, -1) for f in model.fields]
    return Relation(oid, "public", model.table, "d", columns)


TASKS, NOTES, COUNTRIES, OTHERS, MEMBERS = 1, 2, 3, 4, 5
RELATIONS: list[Message] = [
    _relation(TASKS, TASK),
    _relation(NOTES, NOTE),
    _relation(COUNTRIES, COUNTRY),
    Relation(OTHERS, "public", "others", "d", [Column("id", True, 25, -1)]),
    _relation(MEMBERS, MEMBER),
]


def _say(**said: object) -> LogicalMessage:
    return LogicalMessage(True, 0, "pgsync", orjson.dumps(said))


def _group(*messages: Message, grouper: Grouper | None = None, xid: int = 700) -> Group:
    grouper = grouper or Grouper(SCHEMA, reference_xid=690)
    for message in (Begin(100, 86_400_000_000 + 1_234_567, xid), *RELATIONS, *messages):
        assert grouper.feed(message, 10) is None
    group = grouper.feed(Commit(100, 150, 86_400_000_000 + 1_234_567))
    assert group is not None
    return group


def _changes(*messages: Message) -> list[Change]:
    return _group(*messages).transaction.changes


def _brief(changes: list[Change]) -> list[tuple[int, str, str, str]]:
    return [(c.sync_id, c.action, c.model.key, c.row_id) for c in changes]


def test_transaction_is_whole_and_numbered_from_one() -> None:
    group = _group(
        Insert(TASKS, (b"t1", b"o1", b"a")),
        Update(TASKS, (b"t1", b"o1", b"b"), None, False),
        Delete(TASKS, (b"t1", b"o1", None), False),
    )
    transaction = group.transaction
    assert _brief(transaction.changes) == [(1, "I", "tasks", "t1"), (2, "U", "tasks", "t1"), (3, "D", "tasks", "t1")]
    assert (transaction.xid, transaction.end_lsn) == (700, 150)
    assert transaction.committed_at == "2000-01-02T00:00:01.234Z"
    assert transaction.size_bytes >= 10 * 3
    assert [c.data for c in transaction.changes] == [
        b'{"id":"t1","organizationId":"o1","title":"a"}',
        b'{"id":"t1","organizationId":"o1","title":"b"}',
        None,
    ]


def test_tables_of_no_model_do_not_count() -> None:
    changes = _changes(
        Insert(OTHERS, (b"x",)),
        Insert(TASKS, (b"t1", b"o1", None)),
        Update(OTHERS, (b"x",), None, False),
        Delete(OTHERS, (b"x",), False),
        Truncate([OTHERS], False, False),
    )
    assert _brief(changes) == [(1, "I", "tasks", "t1")]


def test_truncate_counts_once_per_table_of_a_model() -> None:
    changes = _changes(Truncate([TASKS, OTHERS, NOTES], True, False))
    assert _brief(changes) == [(1, "T", "tasks", ""), (2, "T", "notes", "")]
    assert [c.data for c in changes] == [None, None]


def test_row_that_changes_its_id_leaves_and_comes() -> None:
    changes = _changes(Update(TASKS, (b"t2", b"o1", b"a"), (b"t1", b"o1", None), False))
    assert _brief(changes) == [(1, "D", "tasks", "t1"), (2, "I", "tasks", "t2")]
    assert changes[1].data == b'{"id":"t2","organizationId":"o1","title":"a"}'


def test_row_that_changes_its_tenant_leaves_one_and_comes_to_the_other() -> None:
    changes = _changes(Update(TASKS, (b"t1", b"o2", b"a"), (b"t1", b"o1", b"a"), True))
    assert [(c.action, c.organization, c.groups) for c in changes] == [
        ("D", "o1", ("org:o1",)),
        ("I", "o2", ("org:o2",)),
    ]


def test_new_row_of_a_changed_id_is_whole_when_the_log_has_the_old_one() -> None:
    old = (b"n1", b"o1", b"p1", b"long")
    changes = _changes(Update(NOTES, (b"n2", b"o1", b"p1", UNCHANGED), old, True))
    assert changes[1].data == b'{"id":"n2","organizationId":"o1","projectId":"p1","body":"long"}'


def test_update_leaves_out_what_the_log_left_out() -> None:
    (change,) = _changes(Update(NOTES, (b"n1", b"o1", b"p1", UNCHANGED), None, False))
    assert change.data == b'{"id":"n1","organizationId":"o1","projectId":"p1"}'


def test_key_of_the_old_row_says_nothing_of_its_other_columns() -> None:
    (change,) = _changes(Update(NOTES, (b"n1", b"o1", b"p1", b"x"), (b"n1", b"o1", None, None), False))
    assert (change.action, change.groups, change.previous_groups) == ("U", ("project:p1",), None)


def test_groups_come_from_the_columns_and_null_is_none() -> None:
    changes = _changes(
        Insert(TASKS, (b"t1", b"o1", None)),
        Insert(NOTES, (b"n1", b"o1", b"p1", None)),
        Insert(NOTES, (b"n2", b"o1", None, None)),
        Insert(COUNTRIES, (b"at", "Österreich".encode())),
    )
    assert [(c.organization, c.groups) for c in changes] == [
        ("o1", ("org:o1",)),
        ("o1", ("project:p1",)),
        ("o1", ()),
        (None, ()),
    ]


def test_row_that_moves_to_another_group_names_the_groups_before() -> None:
    (change,) = _changes(Update(NOTES, (b"n1", b"o1", b"p2", b"x"), (b"n1", b"o1", b"p1", b"x"), True))
    assert (change.action, change.groups, change.previous_groups) == ("U", ("project:p2",), ("project:p1",))


def test_columns_are_found_by_name() -> None:
    columns = [Column(name, False, 25, -1) for name in ("title", "by_hand", "organization_id", "id")]
    (change,) = _changes(
        Relation(TASKS, "public", "tasks", "f", columns),
        Insert(TASKS, (b"x", b"?", b"o1", b"t1")),
    )
    assert (change.row_id, change.organization) == ("t1", "o1")
    assert change.data == b'{"id":"t1","organizationId":"o1","title":"x"}'


def test_column_that_became_text_by_hand_is_text() -> None:
    model = Model(
        "counts", "Count", "count", "public", "counts", "id", None, (ID, Field("n", "n", Kind.INTEGER, "int4"))
    )
    for type_oid, text, expected in ((23, b"7", 7), (25, b"7x", "7x"), (20000, b"7", 7)):
        columns = [Column("id", True, 25, -1), Column("n", False, type_oid, -1)]
        grouper = Grouper(ActiveSchema(1, "", None, (model,)))
        relation = Relation(9, "public", "counts", "d", columns)
        (change,) = _group(relation, Insert(9, (b"c1", text)), grouper=grouper).transaction.changes
        assert orjson.loads(change.data or b"") == {"id": "c1", "n": expected}


@pytest.mark.parametrize(
    ("kind", "sql_type", "type_oid", "text", "expected"),
    [
        (Kind.BOOLEAN, "boolean", 25, b"true", "true"),
        (Kind.BOOLEAN, "boolean", 16, b"t", True),
        (Kind.DATE, "date", 25, b'the "last" day', 'the "last" day'),
        (Kind.UUID, "uuid", 1043, b'"', '"'),
        (Kind.INTEGER, "integer", 20001, b"an enum", "an enum"),
        (Kind.INTEGER, "public.points", 20001, b"7", 7),
        (Kind.BYTES, "bytea", 25, b"no hex", "no hex"),
        (Kind.DECIMAL, "numeric(10,2)", 701, b"1e+30", "1e+30"),
        (Kind.TIMESTAMPTZ, "timestamp(3) with time zone", 1114, b"2026-01-02 03:04:05", "2026-01-02 03:04:05"),
    ],
)
def test_value_of_another_type_than_was_pushed_is_text(
    kind: Kind, sql_type: str, type_oid: int, text: bytes, expected: object
) -> None:
    model = Model("things", "Thing", "thing", "public", "things", "id", None, (ID, Field("v", "v", kind, sql_type)))
    relation = Relation(9, "public", "things", "d", [Column("id", True, 25, -1), Column("v", False, type_oid, -1)])
    grouper = Grouper(ActiveSchema(1, "", None, (model,)))
    (change,) = _group(relation, Insert(9, (b"t1", text)), grouper=grouper).transaction.changes
    assert orjson.loads(change.data or b"") == {"id": "t1", "v": expected}


def test_rows_of_a_table_that_does_not_fit_count_and_show_nothing() -> None:
    columns = [Column(f.column, f.column in ("id", "organization_id"), 25, -1) for f in TASK.fields if f is not TITLE]
    relation = Relation(TASKS, "public", "tasks", "d", columns)
    changes = _changes(relation, Insert(TASKS, (b"t1", b"o1")), Insert(NOTES, (b"n1", b"o1", b"p1", None)))
    assert [(c.sync_id, c.action, c.data is None) for c in changes] == [(1, "S", True), (2, "I", False)]
    assert keys_of_change(changes[0]) == []


def test_models_whose_rows_changed_beside_the_log_count_as_truncated() -> None:
    changes = _changes(_say(t="r", models=["tasks", "unknown", "notes"]))
    assert _brief(changes) == [(1, "T", "tasks", ""), (2, "T", "notes", "")]


@pytest.mark.parametrize("lost", ["id", "organization_id"])
def test_table_that_lost_its_id_or_tenant_is_passed_over(lost: str) -> None:
    columns = [Column(f.column, False, 25, -1) for f in TASK.fields if f.column != lost]
    grouper = Grouper(SCHEMA)
    group = _group(Relation(TASKS, "public", "tasks", "f", columns), Insert(TASKS, (b"?", b"?")), grouper=grouper)
    assert group.transaction.changes == []
    assert grouper.unusable == {"tasks"}


COMMIT = {
    "t": "c",
    "id": "700-0",
    "org": "o1",
    "actor": {"kind": "agent", "id": "a1"},
    "obo": {"kind": "user", "id": "u1"},
    "cap": "cap_1",
    "key": "k1",
    "snap": "690:700:695",
}
BY_COMMIT = Origin(("agent", "a1"), ("user", "u1"), "cap_1", "700-0", "k1")


def test_change_belongs_to_the_latest_message_before_it() -> None:
    second = COMMIT | {"id": "700-1", "key": "k2", "obo": None, "cap": None, "snap": "691:700:"}
    group = _group(
        Insert(TASKS, (b"t0", b"o1", None)),
        _say(**COMMIT),
        Insert(TASKS, (b"t1", b"o1", None)),
        Insert(TASKS, (b"t2", b"o1", None)),
        _say(t="d", role="app", snap="692:700:"),
        Insert(TASKS, (b"t3", b"o1", None)),
        _say(**second),
        Insert(TASKS, (b"t4", b"o1", None)),
    )
    assert [c.origin for c in group.transaction.changes] == [
        Origin(),
        BY_COMMIT,
        BY_COMMIT,
        Origin(actor=("system", "app")),
        Origin(("agent", "a1"), None, None, "700-1", "k2"),
    ]
    assert group.transaction.commits == [("700-0", 3), ("700-1", 5)]
    assert group.transaction.snapshot == "691:700:"


def test_commit_without_changes_ends_where_it_began() -> None:
    group = _group(_say(**COMMIT), _say(**(COMMIT | {"id": "700-1"})), Insert(TASKS, (b"t1", b"o1", None)))
    assert group.transaction.commits == [("700-0", 0), ("700-1", 1)]


def test_operations_give_their_ids_to_the_changes_of_their_rows() -> None:
    ops = [["tasks", "t1", "tx-a"], ["tasks", "t1", "tx-b"], ["notes", "t1", "tx-c"]]
    changes = _changes(
        _say(**COMMIT, ops=ops),
        Insert(NOTES, (b"t1", b"o1", None, None)),
        Insert(TASKS, (b"t1", b"o1", None)),
        Update(TASKS, (b"t1", b"o1", b"x"), None, False),
        Update(TASKS, (b"t1", b"o1", b"by a trigger"), None, False),
        _say(t="d", role="app", snap="692:700:"),
        Update(NOTES, (b"t1", b"o1", None, None), None, False),
    )
    assert [c.transaction_id for c in changes] == ["tx-c", "tx-a", "tx-b", None, None]


def test_large_transaction_comes_in_parts_of_which_the_last_says_what_it_was() -> None:
    second = COMMIT | {"id": "700-1", "key": "k2"}
    messages: list[Message] = [
        _say(**COMMIT),
        *(Insert(TASKS, (b"t%d" % i, b"o1", None)) for i in range(5)),
        _say(**second),
        *(Insert(TASKS, (b"u%d" % i, b"o1", None)) for i in range(4)),
        _say(t="k", claim="c1"),
        _say(t="h", snap="699:702:"),
    ]
    grouper = Grouper(SCHEMA, reference_xid=690, part_changes=3)
    groups = [g for m in (Begin(100, 0, 700), *RELATIONS, *messages, Commit(100, 150, 0)) if (g := grouper.feed(m, 10))]
    parts = [group.transaction for group in groups]
    assert [[c.sync_id for c in part.changes] for part in parts] == [[1, 2, 3], [4, 5, 6], [7, 8, 9], []]
    assert [(part.before, part.is_last, part.end_lsn, part.xid) for part in parts] == [
        (0, False, 0, 700),
        (3, False, 0, 700),
        (6, False, 0, 700),
        (9, True, 150, 700),
    ]
    assert [part.commits for part in parts] == [[], [], [], [("700-0", 5), ("700-1", 9)]]
    assert [part.snapshot for part in parts] == [None, None, None, "699:702:"]
    assert [len(part.notices) for part in parts] == [0, 0, 0, 1]
    assert [c.origin.server_tx_id for part in parts for c in part.changes] == ["700-0"] * 5 + ["700-1"] * 4
    assert all(part.size_bytes > 0 for part in parts[:3])
    assert _group(Insert(TASKS, (b"t1", b"o1", None)), grouper=grouper).transaction.is_whole


def test_large_values_make_parts_as_many_changes_do() -> None:
    grouper = Grouper(SCHEMA, part_bytes=1000)
    messages = [Insert(TASKS, (b"t%d" % i, b"o1", b"x" * 400)) for i in range(4)]
    groups = [g for m in (Begin(1, 0, 5), *RELATIONS, *messages, Commit(1, 2, 0)) if (g := grouper.feed(m, 400))]
    assert [len(group.transaction.changes) for group in groups] == [2, 2, 0]


def test_anchor_inside_of_a_transaction_with_changes_does_not_count() -> None:
    assert _group(Insert(TASKS, (b"t1", b"o1", None)), _say(t="a", id="x")).anchors == ()


def test_new_row_of_a_changed_id_that_the_log_has_not_whole_has_to_be_loaded() -> None:
    changes = _changes(Update(NOTES, (b"n2", b"o1", b"p1", UNCHANGED), (b"n1", b"o1", None, None), False))
    assert [(c.action, c.row_id, c.data) for c in changes] == [("D", "n1", None), ("R", "n2", None)]


def test_schema_version_and_anchors_are_passed_on() -> None:
    group = _group(_say(t="s", version=4), _say(t="a", id="x"), _say(t="a", id="y"), _say(t="h", snap="1:2:"))
    assert (group.schema_version, group.anchors, group.transaction.snapshot) == (4, ("x", "y"), "1:2:")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"7",
        b"{}",
        b"\xff",
        b'{"t":"c"}',
        b'{"t":"c","id":1,"actor":"x"}',
        b'{"t":"s","version":"x"}',
        b'{"t":"d"}',
        b'{"t":"h","snap":7}',
        b'{"t":"h","snap":"1:2:x"}',
        b'{"t":"a"}',
    ],
)
def test_message_of_another_form_says_nothing(content: bytes) -> None:
    group = _group(_say(**COMMIT), LogicalMessage(True, 0, "pgsync", content), Insert(TASKS, (b"t1", b"o1", None)))
    assert group.transaction.changes[0].origin == BY_COMMIT
    assert (group.transaction.snapshot, group.schema_version, group.anchors) == ("690:700:695", None, ())


def test_messages_of_others_are_ignored() -> None:
    content = orjson.dumps(COMMIT)
    group = _group(
        LogicalMessage(True, 0, "somebody", content),
        LogicalMessage(False, 0, "pgsync", content),
        Insert(TASKS, (b"t1", b"o1", None)),
    )
    assert group.transaction.changes[0].origin == Origin()


def test_message_outside_of_a_transaction_is_ignored() -> None:
    assert Grouper(SCHEMA).feed(LogicalMessage(False, 0, "pgsync", orjson.dumps(COMMIT))) is None


def test_version_in_force_decides_what_counts() -> None:
    grouper = Grouper(ActiveSchema(1, "", None, (NOTE,)))
    assert _group(Insert(TASKS, (b"t1", b"o1", None)), grouper=grouper).transaction.changes == []
    grouper.schema = SCHEMA
    assert len(_group(Insert(TASKS, (b"t1", b"o1", None)), grouper=grouper).transaction.changes) == 1


def test_unfinished_transaction_comes_again_after_the_connection_was_lost() -> None:
    grouper = Grouper(SCHEMA)
    for message in (Begin(100, 0, 700), *RELATIONS, _say(**COMMIT), Insert(TASKS, (b"t1", b"o1", None))):
        grouper.feed(message)
    assert grouper.is_inside
    grouper.forget()
    group = _group(Insert(TASKS, (b"t2", b"o1", None)), grouper=grouper)
    assert _brief(group.transaction.changes) == [(1, "I", "tasks", "t2")]
    assert group.transaction.changes[0].origin == Origin()


@pytest.mark.parametrize(
    "messages",
    [
        [Insert(TASKS, (b"t1", b"o1", None))],
        [Commit(1, 2, 0)],
        [Begin(1, 0, 5), Begin(1, 0, 6)],
        [Begin(1, 0, 5), Insert(99, (b"x",))],
    ],
)
def test_messages_out_of_order_are_refused(messages: list[Message]) -> None:
    grouper = Grouper(SCHEMA)
    *before, last = messages
    for message in before:
        grouper.feed(message)
    with pytest.raises(StreamOrderError):
        grouper.feed(last)


@given(st.integers(0, 2**63), st.integers(-(2**31) + 1, 2**31 - 1))
def test_transaction_id_is_widened_across_the_wrap_around(reference: int, distance: int) -> None:
    xid = reference + distance
    if xid >= 0:
        assert widen(xid & 0xFFFFFFFF, reference) == xid


def test_transaction_ids_go_on_beyond_32_bits() -> None:
    grouper = Grouper(SCHEMA, reference_xid=2**32 - 2)
    xids = [_group(grouper=grouper, xid=xid & 0xFFFFFFFF).transaction.xid for xid in range(2**32 - 1, 2**32 + 3)]
    assert xids == list(range(2**32 - 1, 2**32 + 3))


VALUES = st.one_of(st.none(), st.just(UNCHANGED), st.sampled_from([b"x", b"", b'a"b', b"o1", b"o2"]))
WHOLE = st.sampled_from([b"n1", b"n2", b"\xc3\xa4"])
ROWS = st.tuples(WHOLE, st.sampled_from([b"o1", b"o2"]), VALUES, VALUES)


@given(
    st.lists(
        st.one_of(
            st.builds(Insert, st.just(NOTES), ROWS),
            st.builds(Update, st.just(NOTES), ROWS, st.none(), st.just(False)),
            st.builds(
                Update, st.just(NOTES), ROWS, st.tuples(WHOLE, st.just(b"o1"), st.just(b"x"), st.none()), st.just(True)
            ),
            st.builds(Delete, st.just(NOTES), ROWS, st.booleans()),
            st.builds(Insert, st.just(OTHERS), st.just((b"x",))),
        ),
        max_size=8,
    ),
    st.permutations([f.column for f in NOTE.fields]),
)
def test_rows_are_the_same_whether_their_messages_are_decoded_or_kept(
    messages: list[Message], columns: list[str]
) -> None:
    order = [[f.column for f in NOTE.fields].index(column) for column in columns]

    def reorder(row: tuple[Value, ...]) -> tuple[Value, ...]:
        return tuple(row[i] for i in order)

    for message in messages:
        if isinstance(message, Insert) and message.relation == NOTES:
            message.new = reorder(message.new)
        elif isinstance(message, Update):
            message.new, message.old = reorder(message.new), message.old and reorder(message.old)
        elif isinstance(message, Delete):
            message.old = reorder(message.old)
    notes = Relation(
        NOTES, "public", "notes", "f", [Column(c, c in ("id", "organization_id"), 25, -1) for c in columns]
    )
    whole = [Begin(100, 0, 700), *RELATIONS, notes, *messages, Commit(100, 150, 0)]
    one, other = Grouper(SCHEMA), Grouper(SCHEMA)
    decoded = [g for message in whole if (g := one.feed(message))]
    kept = [g for message in whole if (g := other.take(encode(message)))]

    def brief(groups: list[Group]) -> list[tuple[object, ...]]:
        (group,) = groups
        return [
            (c.sync_id, c.action, c.row_id, c.organization, c.groups, c.previous_groups, c.data)
            for c in group.transaction.changes
        ]

    assert brief(kept) == brief(decoded)


def test_notices_are_handed_on_in_their_order_and_take_no_number() -> None:
    group = _group(
        _say(**COMMIT),
        _say(t="k", claim="c1"),
        Insert(TASKS, (b"t1", b"o1", None)),
        _say(t="p", gateway="g"),
        _say(t="q", what="a newer gateway may know"),
        _say(t=["k"]),
        xid=701,
    )
    notices = group.transaction.notices
    assert [(notice.kind, notice.xid, dict(notice.said)) for notice in notices] == [
        ("k", 701, {"t": "k", "claim": "c1"}),
        ("p", 701, {"t": "p", "gateway": "g"}),
    ]
    (change,) = group.transaction.changes
    assert (change.sync_id, change.origin.actor) == (1, ("agent", "a1"))
    assert group.transaction.commits == [(COMMIT["id"], 1)]


def test_notices_beyond_the_bound_are_passed_over() -> None:
    message = _say(t="p", filler="x" * 100_000)
    notices = _group(*[message] * (NOTICES_BYTES // 100_000 + 5)).transaction.notices
    assert NOTICES_BYTES // 101_200 <= len(notices) < NOTICES_BYTES // 100_000 + 1


def test_change_of_a_membership_says_who_held_and_who_holds_which_group() -> None:
    ada, bob = (b"m1", b"o1", b"ada", b"p1"), (b"m1", b"o1", b"bob", b"p2")
    inserted, moved, same, gone, moved_away, moved_in, unknown = _changes(
        Insert(MEMBERS, ada),
        Update(MEMBERS, bob, ada, True),
        Update(MEMBERS, bob, bob, True),
        Delete(MEMBERS, bob, True),
        Update(MEMBERS, (b"m1", b"o2", b"ada", b"p1"), ada, True),
        Delete(MEMBERS, (b"m1", b"o1", None, None), False),
    )
    was, now = ("ada", "project:p1"), ("bob", "project:p2")
    assert inserted.membership == Membership(None, was)
    assert moved.membership == Membership(was, now)
    assert same.membership is None
    assert gone.membership == Membership(now, None)
    assert (moved_away.membership, moved_in.membership) == (Membership(was, None), Membership(None, was))
    assert unknown.membership == Membership(None, None, is_known=False)
    assert keys_of_change(moved) == [("o1", "org:o1"), ("o1", "@ada"), ("o1", "@bob")]
    assert keys_of_change(moved_in) == [("o2", "org:o2"), ("o2", "@ada")]
    assert keys_of_change(unknown) == [("o1", "org:o1"), ("o1", "@")]


def test_numbers_are_reserved_behind_a_transaction_that_changes_memberships() -> None:
    member = (b"m1", b"o1", b"ada", b"p1")
    changed = _group(Insert(MEMBERS, member), Insert(TASKS, (b"t1", b"o1", b"a"))).transaction
    assert [change.sync_id for change in changed.changes] == [1, 2]
    assert changed.last_sync_id == changed.count == 2 + RESERVED_SYNC_IDS
    assert _group(Update(MEMBERS, member, member, True)).transaction.last_sync_id == 1
