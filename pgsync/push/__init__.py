"""Brings a database to a schema: look at what is there, plan the difference, run it in one transaction."""

from pgsync.push.apply import PushResult, install, push
from pgsync.push.plan import Plan, PushError, Step

__all__ = ["Plan", "PushError", "PushResult", "Step", "install", "push"]
