"""A wrong setting is named with its remedy, and the command line wins over the environment."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgsync.config import ConfigError, GatewayConfig, admin_url

URLS = {"PGSYNC_DATABASE_URL": "postgresql://g@h/d", "PGSYNC_LISTENER_URL": "postgresql://l@h/d"}


def test_defaults_need_only_the_two_urls() -> None:
    config = GatewayConfig.load(URLS)
    assert (config.host, config.deployment) == ("127.0.0.1", "main")


def test_the_command_line_wins_over_the_environment() -> None:
    config = GatewayConfig.load({**URLS, "PGSYNC_PORT": "1", "PGSYNC_RING_SECONDS": "2.5"}, port=2, host=None)
    assert (config.port, config.ring_seconds, config.host) == (2, 2.5, "127.0.0.1")


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"PGSYNC_DATABASE_URL": ""}, "PGSYNC_DATABASE_URL.*pgsync_gateway"),
        ({"PGSYNC_LISTENER_URL": ""}, "PGSYNC_LISTENER_URL.*pgsync_listener"),
        ({"PGSYNC_PORT": "http"}, "PGSYNC_PORT .--port. is 'http', must be a whole number"),
        ({"PGSYNC_PORT": "70000"}, "must be from 0 to 65535"),
        ({"PGSYNC_RING_SECONDS": "nan"}, "PGSYNC_RING_SECONDS"),
        ({"PGSYNC_CONFIRM_SECONDS": "60"}, "PGSYNC_CONFIRM_SECONDS"),
        ({"PGSYNC_LOG_LEVEL": "loud"}, "one of debug, info"),
        ({"PGSYNC_DEPLOYMENT": "Blue-Green"}, "PGSYNC_DEPLOYMENT.*lower-case"),
    ],
)
def test_a_wrong_setting_is_named_with_what_it_should_be(environment: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        GatewayConfig.load({**URLS, **environment})


def test_a_password_is_not_in_the_repr() -> None:
    config = GatewayConfig.load({**URLS, "PGSYNC_DATABASE_URL": "postgresql://g:secret@h/d"})
    assert "secret" not in repr(config)


def test_push_without_a_database_says_which_variable() -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL"):
        admin_url(None, {})


def test_an_administrator_looks_names_up_among_postgres_own() -> None:
    given = conninfo_to_dict(admin_url("postgresql://postgres@localhost/app?options=-c%20geqo%3Doff"))
    assert given["options"] == "-c geqo=off -c search_path=pg_catalog,pg_temp"
