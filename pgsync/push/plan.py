"""The difference between a database and a schema as a list of steps.

Additive steps are planned; what would lose data or break connected clients is refused by name, unless it was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pgsync import sqlfiles
from pgsync.compile import Bundle, Statement, compile_schema
from pgsync.compile.bundle import removal
from pgsync.errors import PgsyncError
from pgsync.models import Model
from pgsync.names import quote
from pgsync.push.alter import Alterations, Ask, Tables, alterations
from pgsync.push.changes import breaks
from pgsync.push.install import install_steps
from pgsync.push.introspect import Installed, Table
from pgsync.push.limits import Limits
from pgsync.push.step import ACCESS_EXCLUSIVE, STRENGTH, Stage, Step
from pgsync.push.wishes import Wishes
from pgsync.schema.resolved import ResolvedSchema

__all__ = ["Plan", "PushError", "Step", "make_migration", "make_plan"]

_NAMED_GUESTS = 5

LOCKS = "wait for the tables"
"""Title of the step that takes all locks of the transaction."""


class PushError(PgsyncError):
    """A schema that cannot be pushed into this database as things are; `details` says why, one by one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a push will run, in order; empty when the database is in sync.

    `document_hash`: the schema hash (1.12). `begin`: what the transaction begins with, timeouts and the lock of pushes;
    `session`: the same for what runs outside of it, `patience` for steps that wait as long as it takes. `name`: the
    command that runs it.
    """

    steps: tuple[Step, ...]
    document_hash: str
    models: int
    begin: str = ""
    session: str = ""
    patience: str = ""
    name: str = "push"

    def of(self, stage: Stage) -> tuple[Step, ...]:
        """The steps of one stage."""
        return tuple(step for step in self.steps if step.stage is stage)

    @property
    def sql(self) -> str:
        """The text that a push runs, as one script for psql."""
        transaction = self.of(Stage.TRANSACTION)
        parts = [f"-- pgsync {self.name}: the statements below{', in one transaction' if transaction else ''}.\n"]
        for stage in Stage:
            steps = self.of(stage)
            if not steps:
                continue
            body = "".join(self._text(step) for step in steps)
            if stage in (Stage.RUNTIME, Stage.TRANSACTION):
                parts.append(f"BEGIN;\n{self.begin}{body}\nCOMMIT;\n")
            else:
                when = "Before" if stage is Stage.BEFORE else "After"
                parts.append(f"\n-- {when} the transaction, each alone.\n{self.session}{body}")
        return "".join(parts)

    def _text(self, step: Step) -> str:
        text = f"{step.comment}{step.sql.rstrip()}\n"
        if step.stage is Stage.AFTER and step.waits:
            return f"\n{self.patience}{text}{self.session}"
        return "\n" + text

    def to_json(self) -> str:
        """The plan as `--json` prints it."""
        described = {"hash": self.document_hash, "inSync": not self.steps, "steps": [s.to_json() for s in self.steps]}
        return json.dumps(described, indent=2, ensure_ascii=False)


def make_plan(
    schema: ResolvedSchema,
    installed: Installed,
    tables: Tables,
    wishes: Wishes,
    ask: Ask,
    *,
    limits: Limits,
) -> Plan:
    """The steps from `installed` to `schema`.

    `ask` answers questions about the rows that are there. Raises PushError: `model_not_provisioned` for tables that are
    missing or behind (unless `wishes.migrate`) or do not fit, `incompatible_change` for what breaks clients or does not
    suit the rows, and was not allowed.
    """
    wishes = wishes.settled(schema, installed.models)
    installed = as_renamed(installed, wishes)
    broken = [str(b) for b in breaks(schema, installed, wishes)]
    if broken:
        message = _say("the push would break connected clients", broken)
        raise PushError("incompatible_change", message, details={"unexecutable": broken, "warnings": []})
    altered = alterations(schema, installed, tables, wishes, ask)
    _refuse(altered)
    if not wishes.migrate:
        _refuse_behind(altered)
    bundle = compile_schema(schema)
    return Plan(
        steps=tuple(_steps(bundle, installed, tables, altered)),
        document_hash=schema.hash,
        models=len(schema.models),
        begin=limits.begin,
        session=limits.session,
        patience=limits.patience,
    )


def make_migration(
    schema: ResolvedSchema,
    installed: Installed,
    tables: Tables,
    wishes: Wishes,
    ask: Ask,
    *,
    limits: Limits,
) -> Plan:
    """The steps that make and alter tables, as far as the active version can live with them.

    Raises PushError as `make_plan` does, and `incompatible_change` for steps that have to come with the version.
    """
    wishes = wishes.settled(schema, installed.models)
    installed = as_renamed(installed, wishes)
    altered = alterations(schema, installed, tables, wishes, ask)
    _refuse(altered)
    active = {m.key for m in installed.models}
    tied = [s.title for s in (*altered.renames, *altered.steps) if s.breaks and s.title.split(":")[0] in active]
    if tied:
        message = _say(
            "the active version cannot live with these; run `pgsync push --migrate` with the same options", tied
        )
        raise PushError("incompatible_change", message, details={"unexecutable": tied, "warnings": []})
    steps = _ordered([*altered.made], altered.steps, [], places=altered.places)
    return Plan(
        tuple(steps),
        schema.hash,
        len(schema.models),
        begin=limits.begin,
        session=limits.session,
        patience=limits.patience,
        name="migrate",
    )


def _steps(bundle: Bundle, installed: Installed, tables: Tables, altered: Alterations) -> Iterator[Step]:
    runtime = [*install_steps(installed)]
    if installed.migrations and any(s.title.startswith("migration ") for s in runtime):
        # Others use that state: what locks it does not wait together with anything.
        runtime = [replace(step, stage=Stage.RUNTIME) for step in runtime]
    early = [s for s in runtime if s.stage is Stage.TRANSACTION]
    early += altered.made
    early += [_step(s) for s in bundle.functions if installed.hash_of(s.kind, s.identity) != s.hash]
    late = [*altered.renames, *altered.steps]
    removed = [m for m in installed.models if bundle.schema.model(m.key) is None]
    left_behind = set(altered.places.values())
    moved = [m for m in installed.models if _moved(m, bundle.schema) and _quoted(m) not in left_behind]
    for model in (*removed, *moved):
        late.extend(_leave(model, tables.get((model.namespace, model.table))))
    on_tables = [
        s
        for s in bundle.on_tables
        if installed.hash_of(s.kind, s.identity) != s.hash or (s.kind, s.identity) in altered.again
    ]
    late += [_step(s, tables.get(_place(bundle.schema, s))) for s in on_tables]
    last = [_step(s) for s in bundle.dispatchers if installed.hash_of(s.kind, s.identity) != s.hash]
    last.extend(_drop_functions(bundle, installed))
    steps = [s for s in runtime if s.stage is Stage.RUNTIME] + _ordered(
        early, late, last, made=altered.made, places=altered.places
    )
    activates = any(s.stage in (Stage.RUNTIME, Stage.TRANSACTION) for s in steps)
    if activates or bundle.definition_hash != installed.definition_hash:
        activation = Step("activate this version", bundle.activation(), undo="push the version before")
        after = [s for s in steps if s.stage is Stage.AFTER]
        steps = [s for s in steps if s.stage is not Stage.AFTER] + [activation] + after
        # As soon as there is what it calls, which is no later than anything that changes a table.
        first = max((n + 1 for n, s in enumerate(steps) if s in runtime or s.stage is Stage.BEFORE), default=0)
        if installed.definition_hash and (
            steps[first] is not activation or bundle.definition_hash != installed.definition_hash
        ):
            look = Step("note the tables as they are", sqlfiles.read("push/look.sql"), undo="none needed")
            steps.insert(first, look)
    yield from steps


def _ordered(
    early: Sequence[Step],
    late: Sequence[Step],
    last: Sequence[Step],
    *,
    made: Sequence[Step] = (),
    places: Mapping[str, str],
) -> list[Step]:
    """Steps by stage; those of the transaction that lock tables come after one step that takes all locks at once.

    `places`: tables that get another name, by that name; they are locked under the one that they have.
    """
    late = [replace(s, tables=tuple(dict.fromkeys(places.get(t, t) for t in s.tables))) for s in late]
    before = [s for s in late if s.stage is Stage.BEFORE]
    after = [s for s in late if s.stage is Stage.AFTER]
    locked = [s for s in late if s.stage is Stage.TRANSACTION]
    locks = strongest(s for s in locked)
    steps = [*before, *early]
    new = {s.undo.removeprefix("DROP TABLE ") for s in (*early, *made) if s.undo.startswith("DROP TABLE ")}
    locks = {table: mode for table, mode in locks.items() if table not in new}
    if locks:
        by_mode = [(mode, [t for t, m in sorted(locks.items()) if m == mode]) for mode in reversed(STRENGTH)]
        sql = sqlfiles.render("push/locks.sql", locks=[(mode, found) for mode, found in by_mode if found])
        steps.append(
            Step(
                LOCKS,
                sql,
                lock=next(mode for mode, found in by_mode if found),
                tables=tuple(sorted(locks)),
                risk="readers and writers of these tables wait until the commit, and while this waits for one of them",
                undo="they end with the transaction",
            )
        )
    return [*steps, *locked, *last, *after]


def strongest(steps: Iterable[Step]) -> dict[str, str]:
    """The strongest lock that steps take on each table."""
    found: dict[str, str] = {}
    for step in steps:
        for table in step.tables:
            if step.lock and STRENGTH.index(step.lock) >= STRENGTH.index(found.get(table, STRENGTH[0])):
                found[table] = step.lock
    return found


def _say(head: str, problems: Sequence[str]) -> str:
    return head + ":\n" + "\n".join(f"  {p}" for p in problems)


def _refuse(altered: Alterations) -> None:
    if altered.misfits:
        message = _say("the tables do not fit the schema", altered.misfits)
        raise PushError("model_not_provisioned", message, details={"problems": altered.misfits})
    if altered.refusals:
        message = _say("the rows that are there do not fit the schema", altered.refusals)
        raise PushError("incompatible_change", message, details={"unexecutable": altered.refusals, "warnings": []})


def _refuse_behind(altered: Alterations) -> None:
    behind = [s.title for s in (*altered.made, *altered.steps)]
    if behind:
        message = _say("the tables are behind the schema, and a push leaves tables alone", behind)
        hint = "make and alter them first: `pgsync migrate SCHEMA`; or do both at once: `pgsync push SCHEMA --migrate`"
        raise PushError("model_not_provisioned", message, details={"problems": behind, "hint": hint})


def _place(schema: ResolvedSchema, statement: Statement) -> tuple[str, str]:
    model = schema.model(statement.model)
    return (model.namespace, model.table) if model is not None else ("", "")


def _step(statement: Statement, table: Table | None = None) -> Step:
    title = f"{statement.model or 'all models'}: {statement.kind.replace('_', ' ')} {statement.identity}"
    risk = "what participants see changes at once, and connected clients load the model anew"
    if table is not None and table.guests:
        named = ", ".join(table.guests[:_NAMED_GUESTS]) + (", .." if len(table.guests) > _NAMED_GUESTS else "")
        risk = (
            f"row security comes on: {named} keep all rows, but Postgres refuses them COPY .. FROM and pg_dump, and"
            " plans LIKE, numeric and jsonb without statistics, unless they own the table or have BYPASSRLS"
        )
    return Step(
        title,
        statement.sql,
        lock=statement.lock,
        tables=(statement.table,) if statement.lock else (),
        risk=risk if statement.kind == "row_security" else "",
        undo=statement.undo or "the statement of the version before",
    )


def as_renamed(installed: Installed, wishes: Wishes) -> Installed:
    """The same with the models of the active version under the keys that they have from now on."""
    return replace(installed, models=tuple(replace(m, key=wishes.model_now(m.key)) for m in installed.models))


def _moved(before: Model, schema: ResolvedSchema) -> bool:
    """Whether a model has another table now and nobody else has its old one."""
    model = schema.model(before.key)
    if model is None or (model.namespace, model.table) == (before.namespace, before.table):
        return False
    return all((m.namespace, m.table) != (before.namespace, before.table) for m in schema.models)


def _leave(model: Model, table: Table | None) -> Iterator[Step]:
    if table is not None:
        sql = removal(model.namespace, model.table, model.key)
        yield Step(
            f"{model.key}: take pgsync off the table",
            sql,
            lock=ACCESS_EXCLUSIVE,
            tables=(_quoted(model),),
            risk="its clients are refused; table and rows stay",
            undo="push a schema that has the model",
        )


def _quoted(model: Model) -> str:
    return f"{quote(model.namespace)}.{quote(model.table)}"


def _drop_functions(bundle: Bundle, installed: Installed) -> Iterator[Step]:
    wanted = {s.identity for s in bundle.statements if s.kind == "function"}
    for found in sorted((installed.objects or {}).values(), key=lambda o: o.identity):
        if found.kind == "function" and found.identity not in wanted:
            sql = sqlfiles.render("push/drop_function.sql", function=found.identity)
            yield Step(f"{found.model or 'all models'}: drop {found.identity}", sql, undo="push a schema that has it")
