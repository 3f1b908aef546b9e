"""The HTTP and WebSocket door: bytes in, one function call, bytes out.

Every rule is in the database; what is decided here is only the shape of requests and answers.
"""

from pgsync.gateway.app import Gateway, run, serve
from pgsync.gateway.workers import WorkerFailedError, run_workers

__all__ = ["Gateway", "WorkerFailedError", "run", "run_workers", "serve"]
