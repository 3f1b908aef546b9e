"""What `pgsync serve --workers` starts: one of its processes. Its argument is the number of an inherited socket."""

from __future__ import annotations

import asyncio
import socket
import sys

from pgsync import log
from pgsync.cli.failure import EXIT_REFUSED, explain
from pgsync.cli.propose import propose
from pgsync.gateway import process
from pgsync.gateway.worker import read_orders, run_worker


def main() -> None:
    """Serves; exits as `pgsync serve` does."""
    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        orders = read_orders(control)
        log.configure(level=orders.config.log_level, format=orders.config.log_format, worker=orders.worker)
        process.tune_collector()
        with asyncio.Runner(loop_factory=process.loop_factory()) as runner:
            runner.run(run_worker(orders, control, receive_schema=propose))
    except ConnectionError:
        sys.exit(EXIT_REFUSED)
    except Exception as error:  # every error ends here, and those of ours without a traceback
        failure = explain(error)
        if failure is None:
            raise
        failure.show()
        sys.exit(failure.exit_code)


if __name__ == "__main__":
    main()
