"""Brings a database to a schema: look at what is there, plan the difference, run it in one transaction."""

from pgsync.push.apply import PushResult, install, push
from pgsync.push.plan import Plan, PushError, Step
from pgsync.push.proposals import Proposal, read_proposals, schema_of_wire

__all__ = [
    "Plan",
    "Proposal",
    "PushError",
    "PushResult",
    "Step",
    "install",
    "push",
    "read_proposals",
    "schema_of_wire",
]
