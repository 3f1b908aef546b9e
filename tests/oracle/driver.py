"""One run: a plan drawn from a seed, real gateways and writers, and a judge beside every subscriber.

Step n draws from a generator of its own, seeded with the run's seed and n, so a step is the same however the steps
before it came out. `Run.steps` raises OracleError with the seed, the step and every violation.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from pgsync import keys, names
from pgsync.dev.embedded import EmbeddedPostgres
from pgsync.push import push
from pgsync.schema import load_schema
from tests import postgres
from tests.credentials import create_credential
from tests.oracle import writers
from tests.oracle.check import Checker, Counts, Echo
from tests.oracle.follower import Follower
from tests.oracle.history import History, LogReader
from tests.oracle.replica import differences
from tests.oracle.schemas import ORGANIZATIONS, TEAMS, Identity, Schema, grown, random_schema
from tests.oracle.servers import Gateway, drop_slot, invalidate_slots, terminate_streams
from tests.oracle.subscriber import StreamEnded, Subscriber

LIMIT_SECONDS: Final = 60.0
SUBSCRIBERS: Final = 8
FOLLOWERS: Final = (2, 7)  # those that read server-sent events
MEMBERS: Final = (1, 4, 7)  # those whose groups are what memberships grant them, besides their own
LEAST_CONNECTED: Final = 4
LONG_TRANSACTIONS: Final = 2
# What a call meets when the gateway, its database or its socket goes away under it.
GONE: Final = (StreamEnded, aiohttp.ClientError, ConnectionError, TimeoutError)


class OracleError(AssertionError):
    """Something that pgsync promises did not hold."""


@dataclass(slots=True)
class Tally:
    """What a run has done."""

    steps: int = 0
    kills: int = 0
    slot_losses: int = 0
    invalidations: int = 0
    crashes: int = 0
    terminations: int = 0
    pushes: int = 0
    truncations: int = 0
    receipts: int = 0
    refusals: int = 0
    transactions: int = 0
    changes: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Writer:
    """Somebody who writes over HTTP."""

    organization: str
    key: str


class Run:
    """Everything of one seed. `hazards`: also kill, crash and lose things. `workers`: of each gateway.

    `is_long`: at the end, what clients believe of each other's presence is judged, too, which may take the time after
    which a gateway that was killed is taken for dead.
    """

    def __init__(
        self,
        seed: int,
        database: postgres.Database,
        embedded: EmbeddedPostgres,
        folder: Path,
        *,
        hazards: bool,
        workers: Sequence[int] = (1, 1),
        is_long: bool = False,
    ) -> None:
        self.seed = seed
        self.database = database
        self.tally = Tally()
        self._embedded = embedded
        self._folder = folder
        self._hazards = hazards
        self._is_long = is_long
        self._step = 0
        rng = random.Random(f"{seed} world")
        self._schemas: list[Schema] = [random_schema(rng)]
        self.history = History(self._schemas[0])
        self._slot = f"oracle_{database.name}"
        self._log = LogReader(database.dsn, self._slot, self.history, self._schemas)
        self.gateways = [
            Gateway(
                database,
                f"{database.name}_{letter}",
                folder / f"gateway-{letter}.log",
                {"ring-seconds": "120", "workers": str(number)},
            )
            for letter, number in zip("abc", workers, strict=False)
        ]
        self._wanted: set[str] = set()  # deployments that ought to run
        self._session: aiohttp.ClientSession
        self._writers: list[Writer] = []
        self._managers: dict[str, str] = {}
        self._capabilities: dict[str, str] = {}
        self.subscribers: list[Subscriber] = []
        self.checkers: list[Checker] = []
        self._checked: list[int] = []
        self._sent: dict[str, list[Echo]] = {}
        self._receipts: dict[str, Any] = {}
        self._refused: set[str] = set()
        self._long: dict[int, psycopg.Connection[Any]] = {}
        self._application: psycopg.Connection[Any] | None = None
        self.role = f"app_{database.name}"
        self._kinds: list[tuple[float, str, Callable[[random.Random], Awaitable[None]]]] = [
            (16, "write", self._write),
            (14, "batch", self._batch),
            (16, "commit over a socket", self._commit_frame),
            (5, "premise", self._premise),
            (4, "claim", self._claim),
            (8, "claim over a socket", self._claim_frame),
            (16, "membership", self._membership),
            (26, "transaction", self._transaction),
            (6, "long transaction", self._long_transaction),
            (8, "burst", self._burst),
            (1, "truncate", self._truncate),
            (2, "large transaction", self._large),
            (4, "prepared transaction", self._prepared),
            (14, "open", self._open),
            (4, "close", self._close),
            (5, "lag", self._lag),
            (5, "go on", self._go_on),
            (8, "gap check", self._gap_check),
            (5, "subscription", self._subscribe),
            (3, "rotation", self._rotate),
            (4, "bootstrap", self._bootstrap),
            (3, "settle", self._settle),
        ]
        if hazards:
            self._kinds += [
                (2, "kill", self._kill),
                (1, "stop", self._stop),
                (3, "start", self._start),
                (2, "terminate", self._terminate),
                (1, "lose a slot", self._lose_slot),
                (0.5, "lose all slots", self._lose_all),
                (0.8, "invalidate slots", self._invalidate),
                (0.5, "crash", self._crash),
                (1, "push", self._push),
            ]

    # --- the world ----------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Pushes the schema, starts the gateways, makes the subscribers; takes all of it down at the end."""
        self._push_version(self._schemas[0])
        self._log.create()
        self.database.execute(f"CREATE ROLE {self.role} LOGIN")
        try:
            self._grant()
            for gateway in self.gateways:
                self._wanted.add(gateway.deployment)
                gateway.start()
            timeout = aiohttp.ClientTimeout(total=LIMIT_SECONDS)
            async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
                self._session = session
                for gateway in self.gateways:
                    await gateway.ready(session)
                self._make_people(random.Random(f"{self.seed} people"))
                try:
                    yield
                finally:
                    for subscriber in self.subscribers:
                        await subscriber.close()
        finally:
            for connection in self._long.values():
                connection.close()
            if self._application is not None:
                self._application.close()
            for gateway in self.gateways:
                gateway.kill()
            self.database.execute(f"DROP OWNED BY {self.role}; DROP ROLE {self.role}")

    def _push_version(self, schema: Schema) -> None:
        path = self._folder / f"schema{len(self._schemas)}.py"
        path.write_text(schema.source())
        push(self.database.dsn, load_schema(str(path)))

    def _grant(self) -> None:
        tables = ", ".join(model.table for model in self._schemas[-1].models)
        self.database.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {tables} TO {self.role}")

    def _credential(self, identity: Identity, *, key_kind: keys.KeyKind, operations: list[str]) -> tuple[str, str]:
        more: dict[str, Any] = {}
        if not identity.follows:  # groups that are given by name are all
            more["syncGroups"] = sorted(identity.groups)
        key, made = create_credential(
            self.database,
            organization=identity.organization,
            kind=key_kind,
            participant=identity.id,
            participantKind=identity.kind,
            operations=operations,
            **more,
        )
        return key, str(made["capabilityId"])

    def _groups(self, rng: random.Random, organization: str) -> frozenset[str]:
        """Some of everything that a row can belong to."""
        found = {f"org:{organization}"} if rng.random() < 0.8 else set()
        found |= {f"team:{team}" for team in TEAMS if rng.random() < 0.5}
        for model in self._schemas[0].models:
            if model.scope is not None:
                found |= {f"{model.scope}:{writers.row_id(rng, model)}" for _ in range(6)}
        return frozenset(found)

    def _make_people(self, rng: random.Random) -> None:
        everything = {f"team:{team}" for team in TEAMS}
        for model in self._schemas[0].models:
            if model.scope is not None:
                everything |= {f"{model.scope}:{model.typename[0].lower()}{n}" for n in range(writers.POOL)}
        for organization in ORGANIZATIONS:
            groups = frozenset(everything | {f"org:{organization}"})
            for kind, name in (("user", "ada"), ("agent", "bot")):
                who = Identity(organization, kind, name, groups)
                key, _ = self._credential(who, key_kind="ek" if kind == "user" else "rk", operations=[])
                self._writers.append(Writer(organization, key))
            manager = Identity(organization, "system", "ci", groups)
            self._managers[organization], _ = self._credential(manager, key_kind="sk", operations=[])
        for number in range(SUBSCRIBERS):
            organization = ORGANIZATIONS[0] if rng.random() < 0.7 else ORGANIZATIONS[1]
            kind, person = rng.choice((("user", "ada"), ("user", "bob"), ("agent", "bot")))
            operations: list[str] = []
            if rng.random() < 0.25:
                models = rng.sample(self._schemas[0].models, 2)
                operations = [f"{model.typename.lower()}.read" for model in models]
            readable = frozenset(name.removesuffix(".read") for name in operations) or None
            groups = self._groups(rng, organization)
            if number in MEMBERS:
                groups = frozenset({f"org:{organization}", f"{kind}:{person}"})
            identity = Identity(organization, kind, person, groups, readable, follows=number in MEMBERS)
            key, capability = self._credential(
                identity, key_kind="ek" if kind == "user" else "rk", operations=operations
            )
            name = f"subscriber {number} ({person} of {organization})"
            self._capabilities[name] = capability
            made = Follower if number in FOLLOWERS else Subscriber
            self.subscribers.append(made(self._session, name, identity, key, self._head))
            self.checkers.append(Checker(name, identity, self.history, self._sent, gets_rows=number in FOLLOWERS))
            self._checked.append(0)

    def _head(self) -> int:
        """The oracle's head now; 0 .. of a server that is down is asked again."""
        self._log.poll()
        return self.history.head

    # --- steps --------------------------------------------------------------------------------------------------------

    async def steps(self, count: int) -> None:
        """Runs so many steps and then lets everything come to rest."""
        weights = [weight for weight, _, _ in self._kinds]
        try:
            self._fill(random.Random(f"{self.seed} rows"))
            for subscriber in self.subscribers[:5]:
                await self._arrive(random.Random(0), subscriber)
            for number in range(1, count + 1):
                self._step = number
                rng = random.Random(f"{self.seed} {number}")
                _, kind, step = rng.choices(self._kinds, weights)[0]
                self._kind = kind
                self.tally.steps += 1
                self.tally.by_kind[kind] = self.tally.by_kind.get(kind, 0) + 1
                async with asyncio.timeout(4 * LIMIT_SECONDS):
                    while sum(subscriber.is_open for subscriber in self.subscribers) < LEAST_CONNECTED:
                        await self._open(random.Random(f"{self.seed} {number} open"))
                    await step(rng)
                if number % 5 == 0:
                    self.judge()
            self._step, self._kind = count + 1, "end"
            await self._finish()
        except OracleError:
            raise
        except Exception as error:
            raise self._failed(f"{type(error).__name__}: {error}") from error

    _kind = "start"

    def _fill(self, rng: random.Random) -> None:
        """The rows to begin with."""
        with self._connect() as connection:
            writers.begin(connection)
            for _ in range(120):
                with contextlib.suppress(*writers.REFUSALS):
                    writers.random_insert(rng, connection, self._schema)

    def _failed(self, what: str) -> OracleError:
        self._write_down()
        logs = "".join(f"\n--- {gateway.deployment}:\n{gateway.tail()}" for gateway in self.gateways)
        return OracleError(
            f"seed {self.seed}, step {self._step} ({self._kind}): {what}\n"
            f"again: --oracle-seed {self.seed} --oracle-steps {self._step}; files in {self._folder}{logs}"
        )

    def _write_down(self) -> None:
        """What happened and what everybody was told, for whoever looks into a failure."""
        with (self._folder / "history.txt").open("w") as out:
            for transaction in self.history.transactions:
                out.write(f"transaction {transaction.xid} {transaction.commits}\n")
                for change in transaction.changes:
                    out.write(
                        f"  {change.sync_id} {change.action} {change.key}\n    {change.before}\n    {change.after}\n"
                    )
        for subscriber in self.subscribers:
            with (self._folder / f"{subscriber.name}.txt").open("w") as out:
                out.write(f"{subscriber.identity}\n")
                out.writelines(f"{event}\n"[:4000] for event in subscriber.events)

    def judge(self) -> None:
        """Judges everything that has come so far."""
        self._log.poll()
        found: list[str] = []
        for number, (subscriber, checker) in enumerate(zip(self.subscribers, self.checkers, strict=True)):
            for event in subscriber.events[self._checked[number] :]:
                checker.check(event)
            self._checked[number] = len(subscriber.events)
            found += checker.violations
        found += [f"the commit {key} was applied twice" for key in self.history.repeated_keys]
        if found:
            raise self._failed("\n  ".join(["violations:", *found[:20]]))

    @property
    def counts(self) -> Counts:
        """What the checkers looked at."""
        return sum((checker.counts for checker in self.checkers), Counts())

    @property
    def _schema(self) -> Schema:
        return self._schemas[-1]

    def _running(self) -> list[Gateway]:
        return [gateway for gateway in self.gateways if gateway.is_running]

    async def _gateway(self, rng: random.Random) -> Gateway:
        """A gateway that serves; one is started when none does."""
        drawn = rng.random()
        if not self._running():
            await self._start_one(self.gateways[int(drawn * len(self.gateways))])
        running = self._running()
        return running[int(drawn * len(running))]

    async def _start_one(self, gateway: Gateway) -> None:
        if not gateway.is_running:
            gateway.start()
        self._end_long()  # a slot that has to be made waits for everything that is open
        await gateway.ready(self._session)

    # --- guarded writes -----------------------------------------------------------------------------------------------

    async def _call(
        self, rng: random.Random, writer: Writer, method: str, path: str, body: Any, key: str
    ) -> tuple[int, Any]:
        """A write until its outcome is known: again with the same key for as long as nobody says."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while True:
            gateway = await self._gateway(rng)
            headers = {"Authorization": f"Bearer {writer.key}", "Content-Type": "application/json"}
            if key:
                headers["Idempotency-Key"] = key
            try:
                async with self._session.request(
                    method, gateway.url + path, data=orjson.dumps(body), headers=headers
                ) as response:
                    status, answer = response.status, orjson.loads(await response.read() or b"null")
            except GONE:
                status, answer = 599, None
            if status < 500 and not (status == 200 and answer and answer.get("status") == "queued"):
                if key:
                    self._outcome(key, status, answer)
                return status, answer
            if time.monotonic() > deadline:
                raise self._failed(f"{method} {path} is still answered with {status} {writers.spell(answer)}")
            await asyncio.sleep(0.05)

    def _outcome(self, key: str, status: int, answer: Any) -> None:
        if status == 200:
            self._receipts[key] = answer
            self.tally.receipts += 1
        else:
            self._refused.add(key)
            self.tally.refusals += 1

    def _key(self, rng: random.Random) -> str:
        return f"{self.seed}-{self._step}-{rng.getrandbits(40):x}"

    async def _write(self, rng: random.Random) -> None:
        operation = writers.random_operation(rng, self._schema)
        await self._write_one(rng, rng.choice(self._writers), operation)

    async def _write_one(
        self, rng: random.Random, writer: Writer, operation: dict[str, Any], **guards: Any
    ) -> tuple[int, Any]:
        path = f"/api/v1/models/{operation['model']}"
        body = guards | ({"data": operation["data"]} if "data" in operation else {})
        match operation["action"]:
            case "create":
                return await self._call(rng, writer, "POST", path, body | {"id": operation["id"]}, self._key(rng))
            case "update":
                return await self._call(rng, writer, "PATCH", f"{path}/{operation['id']}", body, self._key(rng))
            case _:
                return await self._call(rng, writer, "DELETE", f"{path}/{operation['id']}", body, self._key(rng))

    def _with_ids(self, key: str, operations: list[dict[str, Any]]) -> None:
        """Gives the operations ids of their own and remembers them."""
        echoes: list[Echo] = []
        for number, operation in enumerate(operations):
            transaction_id = f"{key}-op{number}"
            model = self._schema.by_table[operation["model"]]
            operation["transactionId"] = transaction_id
            echoes.append(Echo(transaction_id, key, model.typename, operation["id"]))
        self._sent[key] = echoes

    async def _batch(self, rng: random.Random) -> None:
        key = self._key(rng)
        operations = [writers.random_operation(rng, self._schema) for _ in range(rng.choice((1, 2, 3, 8)))]
        self._with_ids(key, operations)
        await self._call(rng, rng.choice(self._writers), "POST", "/api/v1/commits", {"operations": operations}, key)

    async def _commit_frame(self, rng: random.Random) -> None:
        subscriber = rng.choice(self.subscribers)
        key = self._key(rng)
        operations = [writers.random_operation(rng, self._schema) for _ in range(rng.choice((1, 1, 2, 4)))]
        repeat = rng.random() < 0.2
        if not subscriber.writes or not subscriber.is_open or subscriber.is_lagging:
            return
        self._with_ids(key, operations)
        frames = [
            {
                "type": operation["action"].upper(),
                "model": self._schema.by_table[operation["model"]].typename.lower(),
                "id": operation["id"],
                "transactionId": operation["transactionId"],
            }
            | ({"input": operation["data"]} if "data" in operation else {})
            for operation in operations
        ]
        for _ in range(1 + repeat):
            result = subscriber.results[key] = asyncio.get_running_loop().create_future()
            try:
                await subscriber.send("commit", {"operations": frames, "clientTxId": key})
                answer = await asyncio.wait_for(result, LIMIT_SECONDS)
            except GONE:
                return  # the outcome is the database's to know
            if answer["success"]:
                if answer["status"] == "confirmed":
                    self._outcome(key, 200, answer)
            elif answer["error"]["code"] not in ("connected_database_unreachable", "commit_failed"):
                self._outcome(key, 409, answer)

    async def _premise(self, rng: random.Random) -> None:
        """Reads a row, lets somebody else have a go or not, and writes under what was read."""
        operation = writers.random_operation(rng, self._schema)
        writer = rng.choice(self._writers)
        between, mode = rng.random() < 0.5, rng.choice(("reject", "notify", "overwrite"))
        gateway = await self._gateway(rng)
        headers = {"Authorization": f"Bearer {writer.key}"}
        path = f"/api/v1/models/{operation['model']}/{operation['id']}"
        try:
            async with self._session.get(gateway.url + path, headers=headers) as response:
                if response.status != 200:
                    return
                stamp = (await response.json())["stamp"]
        except GONE:
            return
        if between:
            await self._write_one(rng, rng.choice(self._writers), operation)
        await self._write_one(rng, writer, operation, readAt=stamp, onStale=mode)

    async def _claim(self, rng: random.Random) -> None:
        """Takes a claim, lets somebody write, writes under it, gives it back."""
        operation = writers.random_operation(rng, self._schema)
        writer, other = rng.choice(self._writers), rng.choice(self._writers)
        path = f"/api/v1/models/{operation['model']}/{operation['id']}/claim"
        status, claim = await self._call(rng, writer, "POST", path, {"ttl": 30}, "")
        await self._write_one(rng, other, operation)
        if status == 200 and isinstance(claim, dict) and "fenceToken" in claim:
            token = claim["fenceToken"]
            await self._write_one(rng, writer, operation, claim=claim["id"], fenceToken=token)
        await self._call(rng, writer, "DELETE", path, {}, "")

    async def _claim_frame(self, rng: random.Random) -> None:
        """Somebody claims a row over its socket, waits in line for it, lives on, or gives it back."""
        subscriber = rng.choice(self.subscribers)
        model = rng.choice(self._schema.models)
        row_id, kind, queue = writers.row_id(rng, model, 2), rng.random(), rng.random() < 0.7
        parts = rng.choice(({}, {}, {"field": "title"}, {"fields": ["title", "level"]}))
        if not subscriber.writes or not subscriber.is_open or subscriber.is_lagging:
            return
        living = [claim_id for claim_id, claim in subscriber.claims.items() if claim.told != "gone"]
        if living and kind < 0.3:
            await self._ask(subscriber, subscriber.abandon(living[0]))
        elif living and kind < 0.4:
            await self._ask(subscriber, subscriber.send("claim_heartbeat", {"claimId": living[-1], "ttlMs": 90_000}))
        else:
            claim_id = self._key(rng)
            target = {"entityType": model.typename.lower(), "entityId": row_id, **parts}
            asked = {"claimId": claim_id, **target, "queue": queue, "estimatedMs": rng.choice((2_000, 300_000))}
            await self._ask(subscriber, subscriber.claim(claim_id, asked))

    async def _membership(self, rng: random.Random) -> None:
        """People are given groups, or lose them."""
        for _ in range(rng.choice((1, 1, 3))):
            self._change_membership(rng)

    def _change_membership(self, rng: random.Random) -> None:
        """One is, alone or among other changes."""
        model = next(model for model in self._schema.models if model.grants is not None)
        organization = ORGANIZATIONS[0] if rng.random() < 0.7 else ORGANIZATIONS[1]
        row = {"id": writers.row_id(rng, model), "organization_id": organization}
        row |= {"person_id": rng.choice([self.subscribers[number].identity.id for number in MEMBERS])}
        reference = model.references[1]
        row[reference.column] = writers.random_value(rng, reference.column, self._schema, model)
        goes, others = rng.random() < 0.4, rng.choice((0, 0, 2))
        with self._connect() as connection:
            writers.begin(connection)
            with contextlib.suppress(*writers.REFUSALS), connection.transaction():
                for _ in range(others):
                    writers.random_statement(rng, connection, self._schema)
                if goes:
                    connection.execute(
                        sql.SQL("DELETE FROM {} WHERE id = {} AND organization_id = {}").format(
                            sql.Identifier(model.table), row["id"], row["organization_id"]
                        )
                    )
                    return
                if row[reference.column] is not None:
                    scope = self._schema.by_typename[reference.target]
                    target = {"id": row[reference.column], "organization_id": organization, "title": "to be shared"}
                    writers.insert(connection, scope, target, upsert=True)
                writers.grant(connection, model, row)

    async def _burst(self, rng: random.Random) -> None:
        """Several at once: what order they commit in is nobody's plan."""
        seeds = [rng.getrandbits(60) for _ in range(rng.randint(3, 8))]
        await self._gateway(rng)

        def by_sql(drawn: random.Random) -> None:
            with contextlib.suppress(psycopg.OperationalError), self._connect() as connection:
                writers.begin(connection)
                for _ in range(3):
                    writers.random_transaction(drawn, connection, self._schema)

        work: list[Awaitable[Any]] = []
        for number, seed in enumerate(seeds):
            drawn = random.Random(seed)
            if number % 3 == 2:
                work.append(asyncio.to_thread(by_sql, drawn))
            else:
                work.append(self._batch(drawn) if number % 3 else self._write(drawn))
        await asyncio.gather(*work)

    # --- direct SQL ---------------------------------------------------------------------------------------------------

    def _connect(self, role: str | None = None) -> psycopg.Connection[Any]:
        return self.database.connect(role)

    async def _transaction(self, rng: random.Random) -> None:
        if rng.random() < 0.3:
            if self._application is None or self._application.closed:
                self._application = self._connect(self.role)
                writers.begin(self._application)
            try:
                self._as_application(rng, self._application)
            except psycopg.OperationalError:  # its server has been away
                self._application.close()
        else:
            with self._connect() as connection:
                writers.begin(connection)
                writers.random_transaction(rng, connection, self._schema)

    def _as_application(self, rng: random.Random, connection: psycopg.Connection[Any]) -> None:
        """An application's own role, in one session that lives on."""
        connection.execute("BEGIN")
        try:
            for _ in range(rng.randint(1, 4)):
                writers.random_statement(rng, connection, self._schema)
            connection.execute("COMMIT")
        except writers.REFUSALS:
            connection.execute("ROLLBACK")

    async def _long_transaction(self, rng: random.Random) -> None:
        """Begins, goes on with or ends a transaction that others overtake; its rows are its own until then."""
        slot = rng.randrange(LONG_TRANSACTIONS)
        end = rng.random()
        model, identity = rng.choice(self._schemas[0].models), f"long{slot}-{rng.randrange(6)}"
        row = {
            "id": identity,
            "title": f"by {self._step}",
            "level": rng.randint(0, 6),
            "status": rng.choice(("open", "done")),
        }
        row |= {"team_id": rng.choice(TEAMS)} | ({"organization_id": rng.choice(ORGANIZATIONS)} if model.tenant else {})
        if slot not in self._long or self._long[slot].closed:
            self._long[slot] = self._connect()
            writers.begin(self._long[slot])
            self._long[slot].execute("BEGIN")
            end = 1.0
        connection = self._long[slot]
        try:
            writers.insert(connection, model, row, upsert=True)
            if end < 0.4:
                connection.execute("COMMIT" if end < 0.3 else "ROLLBACK")
        except writers.REFUSALS:
            connection.execute("ROLLBACK")
            end = 0.0
        except psycopg.OperationalError:  # its server went
            end = 0.0
        if end < 0.4:
            self._long.pop(slot).close()

    def _end_long(self) -> None:
        for slot in list(self._long):
            connection = self._long.pop(slot)
            with contextlib.suppress(psycopg.OperationalError):
                connection.execute("COMMIT")
            connection.close()

    async def _truncate(self, rng: random.Random) -> None:
        self._end_long()
        with self._connect() as connection:
            writers.begin(connection)
            self.tally.truncations += bool(writers.truncate(rng, connection, self._schema))

    async def _large(self, rng: random.Random) -> None:
        with self._connect() as connection:
            writers.begin(connection)
            with contextlib.suppress(*writers.REFUSALS):
                writers.large_transaction(rng, connection, self._schema)

    async def _prepared(self, rng: random.Random) -> None:
        with self._connect() as connection:
            writers.begin(connection)
            writers.random_transaction(rng, connection, self._schema, prepared=True)

    # --- subscribers --------------------------------------------------------------------------------------------------

    async def _arrive(self, rng: random.Random, subscriber: Subscriber) -> None:
        """Connects somewhere and does what a client does then."""
        with_cursor, partial = rng.random() < 0.5, rng.random() < 0.15
        gateway = await self._gateway(rng)
        try:
            await subscriber.open(gateway.url, with_cursor=with_cursor)
            if partial and subscriber.replica.is_whole:
                await subscriber.catch_up()
            await subscriber.arrive()
        except GONE:
            await subscriber.close()

    async def _open(self, rng: random.Random) -> None:
        drawn = rng.random()
        away = [subscriber for subscriber in self.subscribers if not subscriber.is_open]
        if away:
            subscriber = away[int(drawn * len(away))]
            await subscriber.close()
            await self._arrive(rng, subscriber)

    async def _close(self, rng: random.Random) -> None:
        await rng.choice(self.subscribers).close(rudely=rng.random() < 0.5)

    async def _lag(self, rng: random.Random) -> None:
        rng.choice(self.subscribers).lag()

    async def _go_on(self, rng: random.Random) -> None:
        for subscriber in self.subscribers:
            subscriber.go_on()
            if subscriber.is_open and not subscriber.replica.is_whole:
                await self._ask(subscriber, subscriber.mend())

    async def _ask(self, subscriber: Subscriber, work: Awaitable[None]) -> None:
        """Something that a subscriber asks its gateway for, if that is still there."""
        try:
            await work
        except GONE:
            await subscriber.close()

    async def _gap_check(self, rng: random.Random) -> None:
        subscriber = rng.choice(self.subscribers)
        if subscriber.is_open:

            async def check() -> None:
                await subscriber.mend()
                await subscriber.sync()
                await subscriber.mend()
                if subscriber.replica.is_whole:
                    await subscriber.send("ack", {"lastSyncId": subscriber.replica.position})

            await self._ask(subscriber, check())

    async def _subscribe(self, rng: random.Random) -> None:
        subscriber = rng.choice(self.subscribers)
        held = sorted(subscriber.identity.groups)
        if subscriber.identity.follows:  # groups may be asked for that a membership will grant
            scope = next(model for model in self._schema.models if model.scope is not None)
            held += [f"{scope.scope}:{row_id}" for row_id in {writers.row_id(rng, scope) for _ in range(3)}]
        groups = frozenset(rng.sample(sorted(held), rng.randint(0, len(held))))
        if subscriber.is_open:
            await self._ask(subscriber, subscriber.subscribe(groups))

    async def _rotate(self, rng: random.Random) -> None:
        """A new key at once; whoever is connected with the old one is sent away, and comes back with the new one."""
        subscriber = rng.choice(self.subscribers)
        manager = Writer(subscriber.identity.organization, self._managers[subscriber.identity.organization])
        path = f"/api/v1/capabilities/{self._capabilities[subscriber.name]}/rotate"
        was_open = subscriber.is_open
        status, answer = await self._call(rng, manager, "POST", path, {"graceSeconds": 0}, "")
        if status != 201:
            raise self._failed(f"a rotation is refused: {status} {writers.spell(answer)}")
        self._capabilities[subscriber.name], subscriber.key = answer["capabilityId"], answer["token"]
        if was_open:
            subscriber.go_on()
            deadline = time.monotonic() + LIMIT_SECONDS
            while subscriber.is_open:
                if time.monotonic() > deadline:
                    raise self._failed(f"{subscriber.name} is still connected with a key that was rotated")
                await asyncio.sleep(0.01)
            await subscriber.close()
            await self._arrive(rng, subscriber)

    async def _bootstrap(self, rng: random.Random) -> None:
        subscriber = rng.choice(self.subscribers)
        kind = rng.random()
        if subscriber.is_open:
            in_stream = kind < 0.4 or not subscriber.groups
            limit = 7 if kind > 0.7 else 5000
            await self._ask(subscriber, subscriber.bootstrap(in_stream=in_stream, limit=limit))
            await self._ask(subscriber, subscriber.mend())

    async def _settle(self, rng: random.Random) -> None:
        """Everybody who is connected comes to have everything."""
        head = self._head()
        for subscriber in self.subscribers:
            if subscriber.is_open:
                await self._ask(subscriber, subscriber.settle(head))

    # --- hazards ------------------------------------------------------------------------------------------------------

    async def _kill(self, rng: random.Random) -> None:
        running = self._running()
        again = rng.random() < 0.6
        if running:
            gateway = rng.choice(running)
            gateway.kill()
            self.tally.kills += 1
            if again:
                await self._start_one(gateway)

    async def _stop(self, rng: random.Random) -> None:
        running = self._running()
        if len(running) > 1:
            await rng.choice(running).stop()

    async def _start(self, rng: random.Random) -> None:
        await self._start_one(rng.choice(self.gateways))

    async def _terminate(self, rng: random.Random) -> None:
        self.tally.terminations += terminate_streams(self.database)
        if rng.random() < 0.5:
            await self._write(rng)
        self._end_long()  # a slot that a gateway is making waits for every transaction that is open
        for gateway in self._running():
            await gateway.ready(self._session)

    async def _lose_slot(self, rng: random.Random) -> None:
        gateway = rng.choice(self.gateways)
        self._end_long()
        if await drop_slot(self.database, gateway.slot):
            self.tally.slot_losses += 1
        if gateway.is_running:
            await gateway.ready(self._session)

    async def _lose_all(self, rng: random.Random) -> None:
        """Nobody is left who knows the count."""
        killed = rng.random() < 0.5
        self._end_long()
        for gateway in self.gateways:
            if killed:
                self.tally.kills += gateway.is_running
                gateway.kill()
            if await drop_slot(self.database, gateway.slot):
                self.tally.slot_losses += 1
        await self._transaction(rng)
        for gateway in self.gateways:
            await self._start_one(gateway)

    async def _invalidate(self, rng: random.Random) -> None:
        """The server keeps no more log for slots that lag; whose gateway does not run finds that when it starts."""
        running = self._running()
        if running and rng.random() < 0.6:
            gateway = rng.choice(running)
            gateway.kill()
            self.tally.kills += 1
        self._end_long()
        if self._application is not None:
            self._application.close()
        self.tally.invalidations += await invalidate_slots(self.database, self._slot, self._log.poll)
        await self._transaction(rng)
        for gateway in self.gateways if rng.random() < 0.5 else self._running():
            await self._start_one(gateway)

    async def _crash(self, rng: random.Random) -> None:
        """The server ends without a word, and recovers."""
        self._embedded.stop(immediately=True)
        self.tally.crashes += 1
        for slot in list(self._long):
            self._long.pop(slot).close()
        self._embedded.start()
        for gateway in self._running():
            await gateway.ready(self._session)

    async def _push(self, rng: random.Random) -> None:
        """One more column, or one more model, while everybody is connected."""
        self._end_long()
        if self._application is not None:
            self._application.close()
        schema = grown(self._schema, rng, len(self._schemas) + 1)
        self._schemas.append(schema)
        self._push_version(schema)
        self._grant()
        self.tally.pushes += 1

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        self._end_long()
        rng = random.Random(f"{self.seed} end")
        for gateway in self.gateways:
            await self._start_one(gateway)
        head = self._head()
        for subscriber in self.subscribers:
            deadline = time.monotonic() + LIMIT_SECONDS
            while True:
                if not subscriber.is_open:
                    await subscriber.close()
                    await self._arrive(rng, subscriber)
                try:
                    await subscriber.settle(head)
                    break
                except GONE:
                    await subscriber.close()
                if time.monotonic() > deadline:
                    raise self._failed(f"{subscriber.name} does not come to rest")
        self.judge()
        self._judge_commits()
        await self._judge_claims()
        if self._is_long:
            await self._judge_presence()
        for subscriber, checker in zip(self.subscribers, self.checkers, strict=True):
            self._judge_end(subscriber, checker)
        self.tally.transactions = len(self.history.transactions)
        self.tally.changes = len(self.history.changes)

    def _judge_commits(self) -> None:
        wrong: list[str] = []
        for key, receipt in self._receipts.items():
            commit = self.history.commits.get(key)
            if commit is None:
                wrong.append(f"{key} was answered with a receipt and is not in the log")
            elif receipt["serverTxId"] != commit.server_tx_id:
                wrong.append(f"{key} is {receipt['serverTxId']} in its receipt, {commit.server_tx_id} in the log")
            elif (
                commit.last_sync_id is not None
                and receipt["lastSyncId"] != commit.last_sync_id
                # Of a commit that was lost to all gateways with their slots nobody knows more than that.
                and receipt["lastSyncId"] not in [base for base in self.history.bases if base > commit.last_sync_id]
            ):
                wrong.append(f"{key} is at {receipt['lastSyncId']} in its receipt, at {commit.last_sync_id} in the log")
        # A refusal may leave its message in the log, as it does for a row that is missing, but no change.
        wrong += [
            f"{key} was refused and has changed something"
            for key in self._refused
            if (refused := self.history.commits.get(key)) is not None and refused.last_sync_id is not None
        ]
        if wrong:
            raise self._failed("\n  ".join(["commits:", *wrong[:20]]))

    async def _judge_claims(self) -> None:
        """Who was told of claims of its own holds them or waits for them, as the database has it."""
        wrong: list[str] = []
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            found = self.database.execute("SELECT id, status FROM pgsync_private.claim WHERE ended_at IS NULL")
            status = {str(claim_id): {"active": "held"}.get(str(said), str(said)) for claim_id, said in found}
            wrong = [
                f"{subscriber.name} was told that {claim_id} is {claim.told}, it is {status.get(claim_id, 'gone')}"
                for subscriber in self.subscribers
                for claim_id, claim in subscriber.claims.items()
                if not claim.given_back and claim.told != status.get(claim_id, "gone")
            ]
            if not wrong:
                return
            await asyncio.sleep(0.1)
        raise self._failed("\n  ".join(["claims:", *wrong[:20]]))

    async def _judge_presence(self) -> None:
        """With no claims left, everybody sees those who share a group with it, and nobody else."""
        self.database.execute(
            "SELECT pgsync.end_claim_v1(organization_id, id) FROM pgsync_private.claim WHERE ended_at IS NULL"
        )
        wrong: list[str] = []
        deadline = time.monotonic() + LIMIT_SECONDS
        sockets = [subscriber for subscriber in self.subscribers if subscriber.writes]
        who = {
            subscriber: checker.reader_at(self.history.head)
            for subscriber, checker in zip(self.subscribers, self.checkers, strict=True)
        }
        while time.monotonic() < deadline:
            wrong = []
            for subscriber in sockets:
                me = who[subscriber]
                there: dict[str, set[str]] = {}
                for other in (who[one] for one in sockets):
                    if other.organization == me.organization and other.id != me.id and other.shown & me.shown:
                        there.setdefault(other.id, set()).update(other.shown & me.shown)
                told = {name: set(groups) for name, groups in subscriber.peers.items()}
                if told != there:
                    wrong.append(f"{subscriber.name} was told {told} are there, and it is {there}")
            if not wrong:
                return
            await asyncio.sleep(0.1)
        raise self._failed("\n  ".join(["presence:", *wrong[:20]]))

    def _judge_end(self, subscriber: Subscriber, checker: Checker) -> None:
        """What the subscriber holds is what SELECT gives under its identity, and so is what the oracle believes."""
        reader = subscriber.identity.with_groups(subscriber.groups)
        identity: dict[str, Any] = {
            "organizationId": reader.organization,
            "participantKind": reader.kind,
            "participantId": reader.id,
            "syncGroups": sorted(reader.groups),
            "operations": [f"{name}.read" for name in sorted(reader.readable)] if reader.readable else [],
        }
        if reader.follows:
            identity["edges"] = True
        if reader.asked is not None:
            identity["subscribed"] = sorted(reader.asked)
        selected: dict[tuple[str, str], Any] = {}
        with self._connect(names.GATEWAY) as connection, connection.transaction():
            connection.execute("SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'")
            connection.execute("SELECT pgsync.set_identity_v1(%s)", [Jsonb(identity)])
            for model in self._schema.models:
                columns = list(model.columns())
                listed = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in columns)
                cursor = connection.execute(sql.SQL("SELECT {} FROM {}").format(listed, sql.Identifier(model.table)))
                for values in cursor.fetchall():
                    row = {
                        name: {"true": "t", "false": "f"}.get(value, value) if name == "private" else value
                        for name, value in zip(columns, values, strict=True)
                    }
                    selected[model.typename, row["id"]] = model.to_json(row)
        believed: Mapping[Any, Any] = checker.visible(self.history.head, (reader,))
        wrong = differences(believed, selected)
        if wrong:
            raise self._failed(f"{subscriber.name}: the oracle itself {'; '.join(wrong)}")
        wrong = differences(subscriber.replica.rows, selected)
        if wrong:
            raise self._failed(f"{subscriber.name}: at the end the replica {'; '.join(wrong)}")
