"""Brings a database to a schema: look at what is there, plan the difference, run it in one transaction."""

from pgsync.push.apply import PushResult, install, migrate, push
from pgsync.push.changes import breaks_of_wire
from pgsync.push.limits import Limits
from pgsync.push.plan import Plan, PushError, Step
from pgsync.push.proposals import Proposal, read_proposals, schema_of_wire
from pgsync.push.wishes import Backfill, ModelRename, Rename, Wishes, parse_backfill, parse_rename, wishes_of_wire

__all__ = [
    "Backfill",
    "Limits",
    "ModelRename",
    "Plan",
    "Proposal",
    "PushError",
    "PushResult",
    "Rename",
    "Step",
    "Wishes",
    "breaks_of_wire",
    "install",
    "migrate",
    "parse_backfill",
    "parse_rename",
    "push",
    "read_proposals",
    "schema_of_wire",
    "wishes_of_wire",
]
