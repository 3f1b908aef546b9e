"""Tokens of the operator's identity provider: who they say acts, acts; every other token has its code."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import jwt
import orjson
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from pgsync.gateway import jwt as gateway_jwt
from pgsync.gateway import serve
from tests import postgres
from tests.acceptance import contract
from tests.acceptance.conftest import Client, World, config_of
from tests.credentials import create_credential

ISSUER: Final = "https://login.example"
SECRET: Final = "a secret that is at least 32 bytes long"
IDENTITY: Final = "/api/auth/identity"


def claims(**more: Any) -> dict[str, Any]:
    """Claims of a token that is taken. An ellipsis leaves one out."""
    given = {"iss": ISSUER, "sub": "ada", "org_id": "acme", "exp": int(time.time()) + 600} | more
    return {name: value for name, value in given.items() if value is not ...}


def token(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **more: Any) -> str:
    return jwt.encode(claims(**more), key, algorithm=algorithm, headers=headers)


@contextlib.asynccontextmanager
async def gateway(database: postgres.Database, **settings: Any) -> AsyncIterator[World]:
    config = config_of(database, **({"jwt_issuer": ISSUER} | settings))
    async with serve(config) as running, aiohttp.ClientSession() as session:
        yield World(running, database, session)


@pytest.fixture
async def world(pushed: postgres.Database) -> AsyncIterator[World]:
    """A gateway that trusts one issuer by a secret."""
    settings = {"jwt_audience": "pgsync", "jwt_groups_claim": "groups", "jwt_kind_claim": "kind"}
    async with gateway(pushed, jwt_secret=SECRET, **settings) as running:
        yield running


def signed(**more: Any) -> str:
    return token(**({"aud": "pgsync"} | more))


async def test_bearer_of_a_token_acts_as_who_it_says(world: World) -> None:
    client = world.with_key(signed(groups=["project:p1"]))
    identity = (await client.get(IDENTITY)).json
    assert (identity["participantKind"], identity["participantId"], identity["accountScope"]) == ("user", "ada", "acme")
    assert identity["syncGroups"] == ["org:acme", "user:ada", "project:p1"]
    assert identity["authority"]["operations"] == []
    reply = await client.create("tasks", "t1", {"title": "x"})
    assert reply.status == 200
    assert reply.json["authority"] == identity["authority"]
    assert (await client.row("tasks", "t1"))["createdBy"] == "ada"
    assert world.database.execute("SELECT participant_id, capability_id FROM pgsync_private.commit") == [("ada", None)]
    assert await world.with_key(signed(org_id="rival")).row("tasks", "t1") is None


async def test_record_of_a_tokens_commit_has_its_authority(world: World) -> None:
    client = world.with_key(signed(groups=["project:p1"]))
    reply = await client.create("tasks", "t1", {"title": "x"}, Idempotency_Key="k")
    record = (await client.get("/api/v1/commits/k")).json
    assert record["authority"] == contract.receipt(reply)["authority"]
    assert record["authority"]["syncGroups"] == ["org:acme", "user:ada", "project:p1"]


async def test_token_opens_a_socket(world: World) -> None:
    async with world.with_key(signed()).socket() as socket:
        await socket.sync()
        await world.client().create("tasks", "t1", {"title": "x"})
        (delta,) = await socket.deltas(1)
        assert delta["modelId"] == "t1"


async def test_bearer_of_a_token_mints_and_revokes_nothing(world: World) -> None:
    client = world.with_key(signed(kind="system"))
    body = {"participantKind": "agent", "wideScope": True}
    assert (await client.call("POST", "/api/v1/capabilities", body)).error[:2] == (403, "server_side_only")
    assert (await client.call("POST", "/api/schema", {"schema": {}})).error[:2] == (403, "forbidden")
    _, theirs = create_credential(world.database, kind="rk", participant="bot")
    path = f"/api/v1/capabilities/{theirs['capabilityId']}"
    assert (await client.call("DELETE", path)).error[:2] == (404, "capability_not_found")
    assert (await client.get(path)).error[:2] == (404, "capability_not_found")


def forged(text: str) -> str:
    """The token with other claims under the old signature."""
    header, _, signature = text.split(".")
    body = base64.urlsafe_b64encode(orjson.dumps(claims(aud="pgsync", sub="root"))).rstrip(b"=").decode()
    return f"{header}.{body}.{signature}"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: "ey.not.jwt", "jwt_malformed"),
        (lambda: token(), "jwt_audience_mismatch"),
        (lambda: signed(aud="other"), "jwt_audience_mismatch"),
        (lambda: signed(iss=...), "jwt_missing_issuer"),
        (lambda: signed(iss="https://evil.example"), "jwt_issuer_untrusted"),
        (lambda: signed(sub=...), "jwt_missing_subject"),
        (lambda: signed(sub=""), "jwt_missing_subject"),
        (lambda: signed(org_id=...), "jwt_missing_organization"),
        (lambda: signed(org_id={"id": "acme"}), "jwt_missing_organization"),
        (lambda: signed(exp=int(time.time()) - 60), "jwt_expired"),
        (lambda: signed(exp=...), "jwt_invalid"),
        (lambda: signed(nbf=int(time.time()) + 600), "jwt_invalid"),
        (lambda: signed(kind="robot"), "jwt_invalid"),
        (lambda: signed(groups=["org:rival"]), "jwt_invalid"),
        (lambda: signed(groups=["nope"]), "jwt_invalid"),
        (lambda: signed(groups={"a": 1}), "jwt_invalid"),
        (lambda: signed(key="another secret that is long enough, too"), "jwt_signature_invalid"),
        (lambda: forged(signed()), "jwt_signature_invalid"),
        (lambda: signed(algorithm="HS512", key=SECRET * 2), "jwt_signature_invalid"),
        (lambda: signed(algorithm="none", key=None), "jwt_signature_invalid"),
    ],
)
async def test_token_that_is_not_taken_says_why(world: World, make: Callable[[], str], code: str) -> None:
    assert (await world.with_key(make()).get(IDENTITY)).error[:2] == (401, code)


async def test_token_without_a_trusted_issuer_is_refused(pushed: postgres.Database) -> None:
    async with gateway(pushed, jwt_issuer="") as world:
        assert (await world.with_key(signed()).get(IDENTITY)).error[:2] == (401, "jwt_issuer_untrusted")


async def test_claims_are_read_as_the_settings_say(pushed: postgres.Database) -> None:
    settings = {"jwt_organization": "acme", "jwt_participant_claim": "email", "jwt_operations_claim": "scope"}
    async with gateway(pushed, jwt_secret=SECRET, **settings) as world:
        bearer = token(org_id="ignored", email="ada@acme.example", scope="openid task.read task.create profile")
        client = world.with_key(bearer)
        identity = (await client.get(IDENTITY)).json
        assert (identity["participantId"], identity["accountScope"]) == ("ada@acme.example", "acme")
        assert identity["authority"]["operations"] == ["task.read", "task.create"]
        assert (await client.create("tasks", "t1", {"title": "x"})).status == 200
        denied = await client.delete("tasks", "t1")
        assert denied.error[:2] == (403, "capability_scope_denied")
        assert denied.json["requiredCapability"] == {"scope": "task.delete"}
        nothing = world.with_key(token(email="ada@acme.example", scope="openid"))
        assert (await nothing.get(IDENTITY)).error[:2] == (401, "jwt_invalid")


# --- published keys -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signer:
    """A key of an issuer."""

    kid: str
    private: Any
    algorithm: str

    def token(self, **more: Any) -> str:
        return token(self.private, self.algorithm, {"kid": self.kid}, **more)

    def published(self) -> dict[str, Any]:
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        return {**algorithm.to_jwk(self.private.public_key(), as_dict=True), "kid": self.kid, "use": "sig"}


@pytest.fixture(scope="module")
def signers() -> list[Signer]:
    return [
        Signer("r1", rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256"),
        Signer("e1", ec.generate_private_key(ec.SECP256R1()), "ES256"),
        Signer("r2", rsa.generate_private_key(public_exponent=65537, key_size=2048), "PS256"),
    ]


def jwks(*signers: Signer) -> bytes:
    return orjson.dumps({"keys": [signer.published() for signer in signers]})


async def test_keys_of_a_file_are_taken_and_new_ones_found(
    pushed: postgres.Database, signers: list[Signer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(jwks(*signers[:2]))
    async with gateway(pushed, jwt_jwks=str(file)) as world:
        for signer in signers[:2]:
            assert (await world.with_key(signer.token()).get(IDENTITY)).status == 200
        unknown = world.with_key(signers[2].token())
        assert (await unknown.get(IDENTITY)).error[:2] == (401, "jwt_signature_invalid")
        file.write_bytes(jwks(*signers))
        monkeypatch.setattr(gateway_jwt, "RETRY_SECONDS", 0)
        assert (await unknown.get(IDENTITY)).status == 200


async def test_public_key_is_no_secret_to_sign_with(
    pushed: postgres.Database, signers: list[Signer], tmp_path: Path
) -> None:
    file = tmp_path / "jwks.json"
    secret = {"kty": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode(), "kid": "s1", "alg": "HS256"}
    file.write_bytes(orjson.dumps({"keys": [signers[0].published(), secret]}))
    async with gateway(pushed, jwt_jwks=str(file)) as world:
        for kid, key in (("s1", SECRET), ("r1", SECRET)):
            bearer = token(key, "HS256", {"kid": kid})
            assert (await world.with_key(bearer).get(IDENTITY)).error[:2] == (401, "jwt_signature_invalid")
        wrong = token(signers[2].private, "RS256", {"kid": "r1"})
        assert (await world.with_key(wrong).get(IDENTITY)).error[:2] == (401, "jwt_signature_invalid")


@contextlib.asynccontextmanager
async def issuer(answers: list[bytes]) -> AsyncIterator[tuple[str, list[str]]]:
    """An issuer that publishes the last of these; its URL and who asked."""
    asked: list[str] = []

    async def publish(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response(body=answers[-1]) if answers[-1] else web.Response(status=500)

    runner = web.ServerRunner(web.Server(publish))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/jwks", asked
    finally:
        await runner.cleanup()


async def test_keys_of_a_url_are_asked_for_once_and_outlive_its_failures(
    pushed: postgres.Database, signers: list[Signer], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [jwks(signers[0])]
    async with issuer(answers) as (url, asked), gateway(pushed, jwt_jwks=url) as world:

        async def bearer(signer: Signer, **more: Any) -> Client:
            return world.with_key(signer.token(**more))

        for number in range(3):
            assert (await (await bearer(signers[0], sub=f"u{number}")).get(IDENTITY)).status == 200
        assert asked == ["/jwks"]
        answers.append(b"")
        monkeypatch.setattr(gateway_jwt, "REFRESH_SECONDS", 0)
        assert (await (await bearer(signers[0], sub="later")).get(IDENTITY)).status == 200
        assert len(asked) == 2


async def test_issuer_that_does_not_answer_is_a_reason_to_try_again(
    pushed: postgres.Database, signers: list[Signer]
) -> None:
    async with issuer([b""]) as (url, _), gateway(pushed, jwt_jwks=url) as world:
        reply = await world.with_key(signers[0].token()).get(IDENTITY)
        assert reply.error[:2] == (503, "session_check_failed")
