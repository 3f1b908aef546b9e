"""One read rule, three renderings: row-level security, the WHERE of a read, and a matcher for the stream."""

from pgsync.expression.match import Reader, compile_rule, compile_verdict
from pgsync.expression.parse import Refusal, RuleError, comparable_kind, parse_rule, rule_of
from pgsync.expression.render import render_rule
from pgsync.expression.tree import Rule

__all__ = [
    "Reader",
    "Refusal",
    "Rule",
    "RuleError",
    "comparable_kind",
    "compile_rule",
    "compile_verdict",
    "parse_rule",
    "render_rule",
    "rule_of",
]
