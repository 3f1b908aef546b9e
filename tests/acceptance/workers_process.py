"""`pgsync serve --workers` with limits that a test can wait for. The settings come from the environment.

python -m tests.acceptance.workers_process SILENT_SECONDS
"""

from __future__ import annotations

import asyncio
import sys

from pgsync import log
from pgsync.config import GatewayConfig
from pgsync.gateway import process, run_workers

if __name__ == "__main__":
    config = GatewayConfig.load()
    log.configure(format=config.log_format)
    program = [sys.executable, "-m", "pgsync.cli.worker"]
    with asyncio.Runner(loop_factory=process.loop_factory()) as runner:
        runner.run(run_workers(config, program, silent_seconds=float(sys.argv[1])))
