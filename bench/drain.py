"""Runs `pg_recvlogical` into a pipe and throws away what comes, until one value has come.

python -m bench.drain CONNINFO SLOT VALUE PROGRAM. Says that it is ready, then the nanosecond of the
machine's monotonic clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from bench.child import READY
from pgsync.names import PUBLICATION


def main(conninfo: str, slot: str, value: str, program: str) -> None:
    wanted = value.encode()
    options = ["proto_version=1", f"publication_names={PUBLICATION}", "messages=true"]
    command = [program, "--start", "--slot", slot, "--dbname", conninfo, "--file", "-", "--fsync-interval", "0"]
    command += [part for option in options for part in ("--option", option)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            print(READY, flush=True)
            assert process.stdout is not None
            rest = b""
            while data := os.read(process.stdout.fileno(), 1 << 18):
                if wanted in rest + data:
                    print(json.dumps({"finished_ns": time.monotonic_ns()}), flush=True)
                    return
                rest = data[-len(wanted) :]
            raise RuntimeError("pg_recvlogical has ended")
        finally:
            process.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
