"""Private tables keep their size, and keeping it is felt by nobody."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta

from pgsync import names
from tests.sql.conftest import WAIT_SECONDS, World, ok, refused

PARTITIONED = {"change": "changed_at", "position": "stored_at"}


def today() -> date:
    return datetime.now(UTC).date()


def partitions(world: World, table: str) -> set[str]:
    found = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass"
    return {name.partition(".")[2] for name in world.sql(found, f"pgsync_private.{table}")}


def maintain(world: World) -> None:
    with world.database.connect(names.LISTENER) as listener:
        listener.execute("SELECT pgsync.maintain_v1()")


def make_partition(world: World, table: str, day: date) -> str:
    name = f"{table}_{day:%Y%m%d}"
    world.sql(
        f"CREATE TABLE pgsync_private.{name} PARTITION OF pgsync_private.{table}"
        f" FOR VALUES FROM ('{day} 00:00:00+00') TO ('{day + timedelta(days=1)} 00:00:00+00')"
    )
    world.sql(f"ALTER TABLE pgsync_private.{name} OWNER TO pgsync_owner")
    return name


def test_three_days_have_partitions_and_every_partition_the_indexes_of_its_table(tasks: World) -> None:
    maintain(tasks)
    for table in PARTITIONED:
        days = {f"{table}_{today() + timedelta(days=n):%Y%m%d}" for n in range(3)}
        assert partitions(tasks, table) >= days
        counted = (
            "SELECT count(*) FROM pg_index WHERE indrelid = i.inhrelid",
            "SELECT count(*) FROM pg_index WHERE indrelid = i.inhparent",
        )
        assert tasks.sql(
            f"SELECT DISTINCT ({counted[0]}) = ({counted[1]}), c.relowner::regrole::text FROM pg_inherits AS i"
            " JOIN pg_class AS c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass",
            f"pgsync_private.{table}",
        ) == [(True, names.OWNER)]


def test_partitions_past_their_retention_go_whole_and_others_stay(tasks: World) -> None:
    for table, column in PARTITIONED.items():
        old = make_partition(tasks, table, today() - timedelta(days=8))
        kept = make_partition(tasks, table, today() - timedelta(days=7))
        # Rows of a day without a partition end up in the default one.
        values = {
            "change": "organization_id, model, row_id, op, role_name",
            "position": "xid, first_sync_id, last_sync_id",
        }
        literals = {"change": "'acme', 'task', 't1', 'I', 'x'", "position": "'1', 1, 1"}
        more = ", commit_sync_ids" if table == "position" else ""
        for age in (9, 3):
            tasks.sql(
                f"INSERT INTO pgsync_private.{table} ({values[table]}{more}, {column})"
                f" VALUES ({literals[table]}{', ARRAY[]::bigint[]' if more else ''}, now() - interval '{age} days')"
            )
        maintain(tasks)
        assert old not in partitions(tasks, table)
        assert kept in partitions(tasks, table)
        assert tasks.sql(f"SELECT count(*) FROM pgsync_private.{table}_default") == [1]


def test_maintenance_neither_waits_for_a_writer_nor_keeps_others_from_writing(tasks: World) -> None:
    ada = tasks.caller()
    ok(ada.create("projects", "p1", {"name": "x"}))
    tasks.sql(f"DROP TABLE pgsync_private.change_{today() + timedelta(days=2):%Y%m%d}")
    old = make_partition(tasks, "change", today() - timedelta(days=8))
    done = threading.Event()

    def run() -> None:
        maintain(tasks)
        done.set()

    with tasks.database.connect(autocommit=False) as writer:
        writer.execute("UPDATE projects SET name = 'held'")
        thread = threading.Thread(target=run)
        thread.start()
        for n in range(5):
            ok(ada.create("projects", f"q{n}", {"name": "x"}))
        assert done.wait(WAIT_SECONDS)
        thread.join()
        assert f"change_{today() + timedelta(days=2):%Y%m%d}" in partitions(tasks, "change"), "made beside a writer"
        assert old in partitions(tasks, "change"), "dropped under a writer"
        writer.commit()
    maintain(tasks)
    assert old not in partitions(tasks, "change")


def test_maintenance_twice_at_once_is_harmless(tasks: World) -> None:
    with tasks.database.connect(autocommit=False) as other:
        other.execute("SELECT pgsync.maintain_v1()")
        maintain(tasks)


def test_ledger_forgets_the_third_day_and_no_other(tasks: World) -> None:
    ok(tasks.caller().create("projects", "p1", {"name": "x"}, key="today"))
    columns = [
        name
        for name in tasks.sql(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = 'pgsync_private.commit'::regclass AND attnum > 0"
        )
        if name not in ("key", "created_at", "day_of_three")
    ]
    for days, key in ((1, "yesterday"), (2, "before")):
        tasks.sql(
            f"INSERT INTO pgsync_private.commit ({', '.join(columns)}, key, created_at, day_of_three)"
            f" SELECT {', '.join(columns)}, '{key}', at, ((at AT TIME ZONE 'UTC')::date - DATE '2000-01-01') % 3"
            f" FROM pgsync_private.commit, (SELECT now() - interval '{days} days' AS at) AS d WHERE key = 'today'"
        )
    tasks.sql("SELECT pgsync_private.note_replay(c) FROM pgsync_private.commit AS c")
    maintain(tasks)
    assert sorted(tasks.sql("SELECT key FROM pgsync_private.commit")) == ["today", "yesterday"]
    assert tasks.sql("SELECT count(*) FROM pgsync_private.commit_replay") == [2]


def test_key_counts_for_a_day_and_is_new_again_after_it(tasks: World) -> None:
    ada = tasks.caller()
    ok(ada.create("projects", "p1", {"name": "x"}, key="order"))
    tasks.sql("UPDATE pgsync_private.commit SET created_at = created_at - interval '23 hours 59 minutes'")
    assert refused(ada.create("projects", "p2", {"name": "y"}, key="order")).code == "idempotency_conflict"
    tasks.sql(
        "UPDATE pgsync_private.commit SET created_at = created_at - interval '2 minutes',"
        " day_of_three = (day_of_three + 2) % 3"
    )
    assert ok(ada.create("projects", "p2", {"name": "y"}, key="order"))["replayed"] is False


def test_checkpoints_that_no_slot_can_start_from_go(tasks: World) -> None:
    def store(lsn: str, sync_id: int) -> None:
        with tasks.database.connect(names.LISTENER) as listener:
            listener.execute("SELECT pgsync.store_checkpoint_v1(%s, %s, NULL, 1, NULL)", [lsn, sync_id])

    for n in range(1, 4):
        store(f"0/{n}", n)
    tasks.sql("UPDATE pgsync_private.checkpoint SET stored_at = stored_at - interval '2 days'")
    tasks.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", f"pgsync_{tasks.database.name}")
    maintain(tasks)
    assert tasks.sql("SELECT sync_id FROM pgsync_private.checkpoint") == [3]


def test_a_transaction_has_one_position_whoever_stores_it(tasks: World) -> None:
    positions = '[["7", 1, 2, [2]]]'
    statement = "SELECT pgsync.store_checkpoint_v1(%s, 2, NULL, 1, %s)"
    second = tasks.connect(names.LISTENER)
    answered = threading.Event()

    def store() -> None:
        second.execute(statement, ["0/2", positions])
        answered.set()

    with tasks.database.connect(names.LISTENER, autocommit=False) as first:
        first.execute(statement, ["0/1", positions])
        thread = threading.Thread(target=store)
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while not answered.is_set() and tasks.sql(waiting) == [0]:
            pass
        first.commit()
    assert answered.wait(WAIT_SECONDS)
    thread.join()
    assert tasks.sql("SELECT count(*) FROM pgsync_private.position WHERE xid = '7'") == [1]


def test_what_leaves_the_change_log_is_remembered_as_its_floor(tasks: World) -> None:
    caller = tasks.caller("acme", "ada")
    ok(caller.create("tasks", "t1", {"title": "first"}))
    tasks.sql("UPDATE pgsync_private.change SET changed_at = changed_at - INTERVAL '30 days' RETURNING 1")
    gone = tasks.sql("SELECT pg_catalog.max(xid::text::bigint) FROM pgsync_private.change")[0]
    tasks.sql("SELECT pgsync.maintain_v1()")
    assert tasks.sql("SELECT count(*) FROM pgsync_private.change") == [0]
    assert tasks.sql("SELECT value::bigint FROM pgsync_private.setting WHERE name = 'change_floor_xid'") == [gone]
