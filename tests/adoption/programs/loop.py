"""A program that is told on standard input what to do, a line of JSON each, and answers in the same way.

So one process of a package lives, with its connections, from before pgsync comes until after it has gone.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any


def serve(**operations: Callable[..., Any]) -> None:
    """Answers until standard input ends. What an operation prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"said": operations[request["do"]](*request["with"])}
        except Exception:  # noqa: BLE001  whatever it is, whoever asked has to know
            answer = {"failed": traceback.format_exc()}
        print(json.dumps(answer, default=str), file=answers, flush=True)
