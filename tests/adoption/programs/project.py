"""What the two Django projects of these tests have in common: settings, migrations, queries with their plans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.db import connection, models
from psycopg.conninfo import conninfo_to_dict


def configure(dsn: str, apps: Sequence[str], **more: Any) -> None:
    """Makes this process one of a project with these apps, on the database of `dsn`."""
    parts = conninfo_to_dict(dsn)
    settings.configure(
        INSTALLED_APPS=apps,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": parts["dbname"],
                "USER": parts["user"],
                "PASSWORD": parts.get("password") or "",
                "HOST": parts.get("host") or "",
                "PORT": parts.get("port") or "",
                "CONN_MAX_AGE": None,
                "OPTIONS": {"server_side_binding": True},
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        SECRET_KEY="of a test",
        SITE_ID=1,
        USE_TZ=True,
        **more,
    )
    django.setup()


def migrate() -> None:
    """Makes the tables, by the migrations of the apps."""
    call_command("migrate", verbosity=0)


def analyze() -> None:
    """So that no plan changes because statistics come by themselves."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def looked_at(queries: Iterable[models.QuerySet[Any, Any]]) -> list[Any]:
    """The rows of each query, and how Postgres goes about it."""
    return [[str(query.explain(costs=False)), list(query)] for query in queries]
