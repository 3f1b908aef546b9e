"""The gateway's connections against a real server: one round trip, one transaction, and what breaks is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
from psycopg import errors as pg_errors

from pgsync.gateway.connection import Call, Statement
from pgsync.gateway.database import Database, DatabaseUnavailableError, UnsafeRoleError
from pgsync.gateway.process import loop_factory
from tests import postgres

LIMIT_SECONDS = 20.0
ONE = Call(Statement(b"SELECT 1", b"one"))


@pytest.fixture
async def pool(database: postgres.Database) -> AsyncIterator[Database]:
    opened = Database(database.dsn, size=2, wait_seconds=LIMIT_SECONDS)
    yield opened
    await opened.close()


async def value(pool: Database, *calls: Call) -> str | None:
    async with asyncio.timeout(LIMIT_SECONDS):
        results = await pool.run(calls)
    text = results[-1].get_value(0, 0)
    return None if text is None else text.decode()


def sql(text: str, *parameters: str, name: str | None = None) -> Call:
    statement = Statement(text.encode(), None if name is None else name.encode())
    return Call(statement, tuple(p.encode() for p in parameters))


async def test_statements_of_one_request_share_a_transaction_and_its_settings(pool: Database) -> None:
    setting = sql("SELECT set_config('pgsync.organization_id', $1, true)", "acme", name="set")
    reading = sql("SELECT current_setting('pgsync.organization_id', true)", name="get")
    assert await value(pool, setting, reading) == "acme"
    assert await value(pool, reading) in (None, "")


async def test_names_are_looked_up_where_the_pool_says(database: postgres.Database) -> None:
    path = sql("SHOW search_path")
    opened = Database(database.dsn, size=2, wait_seconds=LIMIT_SECONDS, namespaces=())
    try:
        assert await value(opened, path) == "pg_catalog,pg_temp"
        opened.look_in(('"Shop\'s \\ types"', "public"))
        async with asyncio.timeout(LIMIT_SECONDS):
            while await value(opened, path) != 'pg_catalog,"Shop\'s \\ types",public,pg_temp':
                await asyncio.sleep(0)
    finally:
        await opened.close()


async def test_failed_request_undoes_itself_and_leaves_the_connection_usable(pool: Database) -> None:
    await value(pool, sql("CREATE TABLE t (n int)"), ONE)
    for begin in ([], [sql("BEGIN")]):
        with pytest.raises(pg_errors.DivisionByZero):
            await pool.run([*begin, sql("INSERT INTO t VALUES (1)"), sql("SELECT 1/0"), sql("SELECT 2", name="two")])
        assert await value(pool, sql("SELECT count(*) FROM t")) == "0"
        assert await value(pool, sql("SELECT 2", name="two")) == "2"


async def test_statement_whose_first_run_fails_is_prepared_all_the_same(pool: Database) -> None:
    divide = "SELECT 1/$1::int"
    for _ in range(3):
        with pytest.raises(pg_errors.DivisionByZero):
            await pool.run([sql(divide, "0", name="divide"), sql("SELECT 2", name="behind")])
    assert await value(pool, sql("SELECT 2", name="behind"), sql(divide, "1", name="divide")) == "1"


async def test_more_requests_than_connections_all_get_their_answer(pool: Database) -> None:
    answers = await asyncio.gather(*(value(pool, sql("SELECT $1::text", str(n), name="echo")) for n in range(50)))
    assert answers == [str(n) for n in range(50)]


async def test_caller_that_gives_up_does_not_disturb_the_next(pool: Database) -> None:
    running = asyncio.ensure_future(pool.run([sql("SELECT pg_sleep(0.05)"), ONE]))
    await asyncio.sleep(0)
    running.cancel()
    assert await value(pool, ONE) == "1"
    assert await asyncio.gather(*(value(pool, ONE) for _ in range(4))) == ["1"] * 4


async def test_caller_cancelled_while_it_waits_for_a_connection_is_cancelled(database: postgres.Database) -> None:
    """At whatever moment: a loop that goes on after its task was cancelled keeps a gateway from stopping."""
    pool = Database(database.dsn, size=1, wait_seconds=LIMIT_SECONDS)
    ended = 0
    try:
        for turns in range(100):
            async with pool.hold():
                waiting = asyncio.create_task(pool.run([ONE]))
                await asyncio.sleep(0)
            for _ in range(turns % 50):
                await asyncio.sleep(0)
            if waiting.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            else:
                ended += 1
        assert await value(pool, ONE) == "1"
    finally:
        await pool.close()
    assert ended < 100, "never in time to be cancelled"


async def test_connection_that_was_killed_is_replaced_without_the_caller_noticing(
    pool: Database, database: postgres.Database
) -> None:
    pid = await value(pool, sql("SELECT pg_backend_pid()"))
    database.execute("SELECT pg_terminate_backend(%s, 5000)", [int(pid or 0)])
    assert await value(pool, ONE) == "1"


async def test_request_whose_connection_is_killed_meanwhile_is_sent_again_once(
    pool: Database, database: postgres.Database
) -> None:
    sleeping = sql("SELECT pg_sleep(CASE WHEN nextval('s') = 1 THEN 60 ELSE 0 END)")
    database.execute("CREATE SEQUENCE s")
    running = asyncio.ensure_future(value(pool, sleeping))
    wanted = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgsync gateway' AND wait_event = 'PgSleep'"
    async with asyncio.timeout(LIMIT_SECONDS):
        while not (found := database.execute(wanted)):  # another process's state has no event
            await asyncio.sleep(0.01)
    database.execute("SELECT pg_terminate_backend(%s, 5000)", [found[0][0]])
    await running
    assert database.execute("SELECT last_value FROM s") == [(2,)]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, loop_factory()], ids=["asyncio", "uvloop"])
def test_server_that_goes_without_having_read_everything_is_noticed(
    database: postgres.Database, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Its last words can be read, then the socket has an error, of which uvloop tells only once."""

    async def run() -> None:
        pool = Database(database.dsn, size=2)
        long = [sql("SELECT pg_sleep(60)"), sql("SELECT length($1)", "x" * 100_000)]
        sleeping = (
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgsync gateway' AND wait_event = 'PgSleep'"
        )
        running = asyncio.ensure_future(pool.run(long))
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                for _ in range(2):  # it is sent again once
                    while not (found := database.execute(sleeping)):
                        await asyncio.sleep(0.01)
                    database.execute("SELECT pg_terminate_backend(%s, 5000)", [found[0][0]])
                with pytest.raises(DatabaseUnavailableError):
                    await running
            assert await value(pool, ONE) == "1"
        finally:
            await pool.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())


async def test_prepared_read_survives_a_column_that_changed_its_type(
    pool: Database, database: postgres.Database
) -> None:
    database.execute("CREATE TABLE t (n int); INSERT INTO t VALUES (7)")
    read = sql("SELECT n FROM t", name="read")
    assert list(await asyncio.gather(value(pool, read), value(pool, read))) == ["7", "7"]
    database.execute("ALTER TABLE t ALTER n TYPE text USING n || '!'")
    assert list(await asyncio.gather(value(pool, read), value(pool, read))) == ["7!", "7!"]


async def test_server_that_does_not_answer_is_an_error_of_its_own(database: postgres.Database) -> None:
    pool = Database(psycopg.conninfo.make_conninfo(database.dsn, dbname="no_such_database"), size=1)
    with pytest.raises(DatabaseUnavailableError):
        await pool.run([ONE])


async def test_wait_for_a_connection_ends(database: postgres.Database) -> None:
    pool = Database(database.dsn, size=1, wait_seconds=0.05)
    running = asyncio.ensure_future(pool.run([sql("SELECT pg_sleep(0.5)")]))
    await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailableError):
        await pool.run([ONE])
    await running
    assert await value(pool, ONE) == "1"
    await pool.close()


async def test_superuser_is_refused_with_the_statement_that_fixes_it(pool: Database) -> None:
    with pytest.raises(UnsafeRoleError, match="NOSUPERUSER NOBYPASSRLS"):
        await pool.check_role()


async def test_database_that_comes_back_is_served_again(database: postgres.Database) -> None:
    def allow(connections: bool) -> None:
        with psycopg.connect(database.server.dsn, autocommit=True) as admin:
            admin.execute(f'ALTER DATABASE "{database.name}" ALLOW_CONNECTIONS {connections}')
            admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [database.name]
            )

    pool = Database(database.dsn, size=2, wait_seconds=LIMIT_SECONDS)
    assert await value(pool, ONE) == "1"
    allow(False)
    for answer in await asyncio.gather(*(pool.run([ONE]) for _ in range(4)), return_exceptions=True):
        assert isinstance(answer, DatabaseUnavailableError)
    allow(True)
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:  # what was begun while it was away may still fail
            try:
                assert await value(pool, ONE) == "1"
                break
            except DatabaseUnavailableError:
                await asyncio.sleep(0.05)
    assert await asyncio.gather(*(value(pool, ONE) for _ in range(4))) == ["1"] * 4
    await pool.close()
