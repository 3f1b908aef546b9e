"""`pgsync audit`: what happened to a row, with a key, by a person, and whether anybody changed the record of it.

Prints what `sql/audit` finds, with names of fields and never their values. Everything but `seal` only reads.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar

import click
import psycopg

from pgsync import names, sqlfiles
from pgsync.audit.chain import Verdict
from pgsync.audit.chain import verify as verify_chain
from pgsync.audit.trail import COLUMNS, Cursor, Entry, Selection, of_key, of_participant, of_row
from pgsync.cli import options
from pgsync.cli.table import table
from pgsync.config import admin_url
from pgsync.errors import PgsyncError

EXIT_BROKEN: Final = 5
LIMIT: Final = 100

Format = Literal["table", "json", "csv"]
_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Moment(click.ParamType[datetime]):
    """ISO 8601; without an offset it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time such as 2026-01-31 or 2026-01-31T08:30:00Z", param, ctx)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at


class _Cursor(click.ParamType[Cursor]):
    """What the member `cursor` of an entry says."""

    name = "cursor"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Cursor:
        if isinstance(value, Cursor):
            return value
        try:
            return Cursor.parse(value)
        except ValueError:
            self.fail(f"{value!r} is not the cursor of an entry", param, ctx)


class _Hash(click.ParamType[bytes]):
    """A SHA-256 as 64 hexadecimal digits."""

    name = "hash"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        if isinstance(value, bytes):
            return value
        try:
            digest = bytes.fromhex(value.strip())
        except ValueError:
            digest = b""
        if len(digest) != 32:
            self.fail("a hash has 64 hexadecimal digits, as `pgsync audit head` prints it", param, ctx)
        return digest


def _trail(command: _Command) -> _Command:
    """The options of every command that prints a trail."""
    for option in (
        click.option(
            "--format",
            "form",
            type=click.Choice(["table", "json", "csv"]),
            default="table",
            show_default=True,
            help="For people, one JSON object a line, or for spreadsheets.",
        ),
        click.option("--after", type=_Cursor(), metavar="CURSOR", help="Go on behind this entry of an earlier call."),
        click.option("--all", "everything", is_flag=True, help="No limit."),
        click.option(
            "--limit",
            type=click.IntRange(min=1),
            default=LIMIT,
            show_default=True,
            help="How many entries, the newest.",
        ),
        click.option("--until", type=_Moment(), metavar="TIME", help="Only what was done before."),
        click.option("--since", type=_Moment(), metavar="TIME", help="Only what was done then or later; UTC."),
        click.option("--organization", metavar="ID", help="Only of this organization."),
        options.database_url,
    ):
        command = option(command)
    return command


@click.group("audit")
def command() -> None:
    """Show who did what to a row, with a key or for a person, and prove that the record was not changed.

    For the role that pushes, or one that `pgsync audit auditor` names the rights of. A trail goes back as far as the
    change log (change_retention_days).
    """


@command.command("row")
@_trail
@click.argument("model", metavar="MODEL")
@click.argument("id", metavar="ID")
def row(model: str, id: str, **given: Any) -> None:
    """Show what happened to the row ID of MODEL, newest first: changes by anybody, and claims on it."""
    _print(lambda connection, **how: of_row(connection, model, id, **how), **given)


@command.command("key")
@_trail
@click.argument("id", metavar="KEY_ID")
def key(id: str, **given: Any) -> None:
    """Show what was done with the key KEY_ID (see `pgsync keys list`), newest first."""
    _print(lambda connection, **how: of_key(connection, id, **how), **given)


@command.command("person")
@_trail
@click.option(
    "--kind",
    type=click.Choice(["user", "agent", "system"]),
    default="user",
    show_default=True,
    help="What kind of participant ID is.",
)
@click.argument("id", metavar="ID")
def person(kind: str, id: str, **given: Any) -> None:
    """Show what ID did, newest first, and what others did for her.

    That is: with her keys, on her behalf, and with keys that were minted with any of those.
    """
    _print(lambda connection, **how: of_participant(connection, kind, id, **how), **given)


@command.command("seal")
@options.database_url
def seal(database_url: str | None) -> None:
    """Seal everything that has been committed by now. Gateways do it every minute.

    Needs EXECUTE on pgsync.seal_v1, which the role that pushes has, and pgsync_listener.
    """
    count = rows = 0
    with psycopg.connect(admin_url(database_url), autocommit=True, application_name="pgsync audit seal") as connection:
        while True:
            found = connection.execute("SELECT pgsync.seal_v1(p_wait => true)").fetchone()
            made = None if found is None else found[0]
            if made is None:
                break
            count += 1
            rows += made["rows"]
            if not made["more"]:
                break
    click.echo(f"{rows} rows in {count} new seals" if count else "nothing to seal")


@command.command("head")
@options.database_url
@options.as_json
def head(database_url: str | None, as_json: bool) -> None:
    """Print the hash of the newest seal, to be kept where nobody who can write this database can write.

    `pgsync audit verify --expect HASH` later says whether everything up to it is as it was.
    """
    with _connect(database_url) as connection:
        found = connection.execute(sqlfiles.read("audit/head.sql")).fetchone()
    if found is None:
        raise PgsyncError(
            "entity_not_found",
            "nothing is sealed",
            details={"hint": "a gateway seals every minute, and so does `pgsync audit seal` at once"},
        )
    number, digest, sealed_at, rows = found
    if as_json:
        click.echo(json.dumps({"seal": number, "hash": digest, "sealedAt": _iso(sealed_at), "rows": rows}))
    else:
        click.echo(f"seal {number} of {_iso(sealed_at)}, {rows} rows up to here", err=True)
        click.echo(digest)


@command.command("verify")
@options.database_url
@options.as_json
@click.option("--expect", type=_Hash(), metavar="HASH", help="A hash that `pgsync audit head` printed at some time.")
def verify(database_url: str | None, as_json: bool, expect: bytes | None) -> None:
    """Check every seal and every audit row, and name the first that was changed, deleted, inserted or moved.

    Exit codes: 0 all is as it was sealed, 5 something is not, or the expected hash is not in the chain.
    """
    with _connect(database_url) as connection:
        verdict = verify_chain(connection, expect=expect)
    click.echo(json.dumps(_as_json(verdict), indent=2) if as_json else "\n".join(_tell(verdict)))
    sys.exit(0 if verdict.broken is None else EXIT_BROKEN)


@command.command("auditor")
@click.argument("role", metavar="ROLE")
def auditor(role: str) -> None:
    """Print the statements that let ROLE read the trail and verify the chain, and nothing else. Runs none of them."""
    click.echo(sqlfiles.render("audit/auditor.sql", role=names.quote(role)), nl=False)


def _connect(database_url: str | None) -> psycopg.Connection[Any]:
    return psycopg.connect(admin_url(database_url), autocommit=True, application_name="pgsync audit")


def _print(
    read: Callable[..., Iterator[Entry]],
    *,
    database_url: str | None,
    organization: str | None,
    since: datetime | None,
    until: datetime | None,
    after: Cursor | None,
    limit: int,
    everything: bool,
    form: Format,
) -> None:
    selection = Selection(organization, since, until, after)
    with _connect(database_url) as connection, connection.transaction():
        # What a page leaves out has to be there for the next: one snapshot for all of them.
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute("SET LOCAL enable_seqscan = off")  # a partition that was empty when analyzed looks free
        entries = read(connection, selection=selection, limit=None if everything else limit + 1)
        shown, more = _first(entries, None if everything else limit)
        _WRITERS[form](shown)
        if more:
            click.echo(f"there is more: --after {more[0].cursor}", err=True)


def _first(entries: Iterator[Entry], limit: int | None) -> tuple[Iterable[Entry], list[Entry]]:
    """The entries to show and, when there are others behind them, the last that is shown."""
    if limit is None:
        return entries, []
    found = list(entries)
    return found[:limit], [found[limit - 1]] if len(found) > limit else []


# ---------------------------------------------------------------------- forms


def _iso(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def _who(entry: Entry) -> str:
    if entry.participant_kind is None:
        return f"role {entry.role}" if entry.role else "-"
    who = f"{entry.participant_kind}:{entry.participant_id}"
    if entry.on_behalf_of_id is not None:
        who += f" for {entry.on_behalf_of_kind}:{entry.on_behalf_of_id}"
    return who


def _cell(text: object) -> str:
    """As it may stand in a terminal: what somebody put into an id must not move the cursor or set a title."""
    return "-" if text is None else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text))


def _write_table(entries: Iterable[Entry]) -> None:
    rows = [
        [
            _iso(e.at),
            _cell(_who(e)),
            _cell(e.key_id),
            e.door,
            _cell(e.organization_id),
            _cell(e.model),
            _cell(e.id),
            e.action,
            _cell(None if e.fields is None else ", ".join(e.fields)),
            _cell(e.claim_id or e.commit_key),
            _cell(e.sync_id),
        ]
        for e in entries
    ]
    if not rows:
        click.echo("nothing", err=True)
        return
    columns = (
        "at",
        "who",
        "key",
        "door",
        "organization",
        "model",
        "id",
        "action",
        "fields",
        "commit or claim",
        "sync id",
    )
    click.echo(table(columns, rows))


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _write_json(entries: Iterable[Entry]) -> None:
    for entry in entries:
        members = {_camel(name): getattr(entry, name) for name in COLUMNS}
        click.echo(json.dumps(members | {"at": _iso(entry.at)}, ensure_ascii=False))


def _safe(value: object) -> str:
    """As a spreadsheet shows it and does not run it: what would begin a formula is marked as text (OWASP)."""
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else text


def _write_csv(entries: Iterable[Entry]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_camel(name) for name in COLUMNS)
    for entry in entries:
        values = {name: getattr(entry, name) for name in COLUMNS}
        values |= {"at": _iso(entry.at), "fields": None if entry.fields is None else " ".join(entry.fields)}
        writer.writerow(_safe(values[name]) for name in COLUMNS)
        click.echo(out.getvalue(), nl=False)
        out.seek(0)
        out.truncate()
    click.echo(out.getvalue(), nl=False)


_WRITERS: Final[dict[Format, Callable[[Iterable[Entry]], None]]] = {
    "table": _write_table,
    "json": _write_json,
    "csv": _write_csv,
}


def _tell(verdict: Verdict) -> Iterator[str]:
    if verdict.broken is not None:
        yield f"broken: {_cell(verdict.broken)}"
    elif verdict.head is None:
        yield "nothing is sealed"
    else:
        yield f"as it was sealed: {verdict.rows} rows in {verdict.seals} seals"
    if verdict.head is not None:
        yield f"head: seal {verdict.head.number} of {_iso(verdict.head.sealed_at)}, {verdict.head.hash.hex()}"
    if verdict.pruned:
        yield f"pruned: {verdict.pruned} rows of days before {verdict.kept_from} may be gone, their seals are there"
    if verdict.expected is not None:
        yield f"expected: the hash is that of seal {verdict.expected}"
    yield f"not sealed yet: {verdict.unsealed} rows"


def _as_json(verdict: Verdict) -> dict[str, Any]:
    broken, head = verdict.broken, verdict.head
    return {
        "ok": broken is None,
        "seals": verdict.seals,
        "rows": verdict.rows,
        "pruned": verdict.pruned,
        "keptFrom": verdict.kept_from and verdict.kept_from.isoformat(),
        "unsealed": verdict.unsealed,
        "head": head and {"seal": head.number, "hash": head.hash.hex(), "sealedAt": _iso(head.sealed_at)},
        "expectedSeal": verdict.expected,
        "broken": broken
        and {
            "what": broken.what,
            "kind": broken.kind,
            "seal": broken.seal,
            "position": broken.position,
            "xid": None if broken.xid is None else str(broken.xid),
            "seq": broken.seq,
            "named": broken.named,
            "message": str(broken),
        },
    }
