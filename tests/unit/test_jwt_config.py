"""Settings of an identity provider: a half of them, or a weak secret, is refused at the start."""

from __future__ import annotations

import pytest

from pgsync.config import ConfigError, GatewayConfig

URLS = {"PGSYNC_DATABASE_URL": "postgresql://g@h/d", "PGSYNC_LISTENER_URL": "postgresql://l@h/d"}
SECRET = "x" * 32


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"JWT_ISSUER": "i"}, "PGSYNC_JWT_SECRET"),
        ({"JWT_SECRET": SECRET}, "PGSYNC_JWT_ISSUER"),
        ({"JWT_JWKS": "keys.json"}, "PGSYNC_JWT_ISSUER"),
        ({"JWT_ISSUER": "i", "JWT_SECRET": "short"}, "PGSYNC_JWT_SECRET"),
        ({"JWT_ISSUER": "i", "JWT_SECRET": SECRET, "JWT_JWKS": "keys.json"}, "PGSYNC_JWT_JWKS"),
        ({"JWT_ISSUER": "i", "JWT_JWKS": "http://login.example/jwks"}, "PGSYNC_JWT_JWKS"),
        ({"JWT_ISSUER": "i", "JWT_JWKS": "ftp://login.example/jwks"}, "PGSYNC_JWT_JWKS"),
    ],
)
def test_half_an_identity_provider_is_refused(given: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError) as refused:
        GatewayConfig.load(URLS | {f"PGSYNC_{name}": value for name, value in given.items()})
    assert named in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("place", ["keys.json", "https://login.example/jwks", "http://127.0.0.1:9/jwks"])
def test_keys_come_from_a_file_or_over_tls(place: str) -> None:
    config = GatewayConfig.load(URLS | {"PGSYNC_JWT_ISSUER": "i", "PGSYNC_JWT_JWKS": place})
    assert config.jwt_jwks == place


def test_secret_is_not_shown() -> None:
    config = GatewayConfig.load(URLS | {"PGSYNC_JWT_ISSUER": "i", "PGSYNC_JWT_SECRET": SECRET})
    assert SECRET not in repr(config)
