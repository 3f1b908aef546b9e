"""Where a result comes from: the machine, how busy it was, the versions, and the settings of the server that matter."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.postgres import Server

_ROOT: Final = Path(__file__).parents[1]
_SETTINGS: Final = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
    "checkpoint_timeout",
    "autovacuum",
    "jit",
)


def load_average() -> float:
    """Of the last minute."""
    return round(os.getloadavg()[0], 2)


def describe_machine() -> dict[str, Any]:
    """Cores, processor, memory, system and Python."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def describe_server(server: Server) -> dict[str, Any]:
    """Version, and the settings that decide what a commit costs."""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s) ORDER BY name", [list(_SETTINGS)]
        ).fetchall()
    return {"name": server.name, "version": server.version, "settings": dict(rows)}


def describe_source() -> dict[str, Any]:
    """The commit of the checkout, and whether there was more in it than committed."""
    head = _git("rev-parse", "--short=12", "HEAD")
    return {
        "commit": head or "unknown",
        "modified": bool(_git("status", "--porcelain", "--", "pgsync", "sql", "bench")),
    }


def _git(*arguments: str) -> str:
    try:
        said = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return said.stdout.strip()


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
