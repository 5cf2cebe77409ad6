"""Tokens of the company's OpenID Connect provider: which are believed, what they open, and what its outage does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from joserfc.jwk import RSAKey

from gateway.net.documents import FLOOR, RETRY, USABLE
from gateway_schemas.testing.twin import Fault
from gateway_schemas.time import SharedTime
from support.gateway import LOOPBACK, fresh_database, settings_for
from support.openid import AUDIENCE, Provider, make_key
from support.postgres import server_url  # noqa: F401  a fixture
from support.rest import KEY, Api, serving

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ROLES = {"desk": "agent", "leads": ["approver", "operator"], "cn=root,ou=groups": "administrator"}
MANY = timedelta(days=3)


@dataclass
class House:
    """A gateway and its provider, on one clock."""

    api: Api
    provider: Provider
    clock: SharedTime

    async def get(self, path: str, token: str) -> httpx2.Response:
        """Ask with a token."""
        async with self.api.caller(token) as caller:
            return await caller.get(path)

    async def me(self, token: str) -> dict[str, Any]:
        """Whom the gateway takes a token's holder for."""
        answer = await self.get("/v1/me", token)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def refused(self, token: str) -> str:
        """Why a token opens nothing."""
        answer = await self.get("/v1/brands", token)
        assert answer.status_code == 401, (answer.status_code, answer.text)
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        return str(answer.json()["detail"])

    def later(self, delta: timedelta) -> None:
        """Let time pass."""
        self.clock.jump(self.clock.now() + delta)


@contextlib.asynccontextmanager
async def housed(server_url: str, folder: Any, **changes: Any) -> AsyncIterator[House]:  # noqa: F811
    """A gateway with a provider of its own."""
    clock = SharedTime.create(folder / "time", at=START, speed=0)
    provider = Provider(time=clock)
    async with provider.serve(), fresh_database(server_url) as url:
        usual = {
            "oidc_issuer": provider.url,
            "oidc_audience": (AUDIENCE, "another-name-of-it"),
            "oidc_roles": ROLES,
            "oidc_allow_private": tuple(LOOPBACK),
            "time_file": clock.path,
        }
        async with serving(settings_for(url, folder, **{**usual, **changes})) as api:
            yield House(api, provider, clock)


@pytest.fixture(scope="module")
async def shared(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:  # noqa: F811
    """One gateway with its provider for the tests of this file."""
    async with housed(server_url, tmp_path_factory.mktemp("openid")) as house:
        yield house


@pytest.fixture
def house(shared: House) -> House:
    """The same, long after the last test's requests, and with no fault left."""
    shared.provider.faults.clear()
    shared.provider.metadata.clear()
    shared.provider.published.clear()
    shared.provider.rotate("one", keep=False)
    shared.later(MANY)
    return shared


async def test_a_role_opens_what_its_scopes_open_and_nothing_else(house: House) -> None:
    token = house.provider.token("ada", roles=["desk", "nobody knows this"], name="Ada Byron")
    me = await house.me(token)
    assert (me["name"], me["subject"], me["issuer"]) == ("Ada Byron", "ada", house.provider.url)
    assert (me["roles"], me["scopes"], me["key"]) == (["agent"], ["read", "tickets"], None)
    assert (await house.get("/v1/tickets", token)).status_code == 200
    refused = await house.get("/v1/keys", token)
    assert (refused.status_code, refused.json()["missing"]) == (403, ["admin"])
    assert "the token of Ada Byron has read, tickets" in refused.json()["detail"]
    several = await house.me(house.provider.token("bea", roles=["leads", "cn=root,ou=groups"]))
    assert several["roles"] == ["approver", "operator", "administrator"]
    nothing = await house.get("/v1/brands", house.provider.token("cy", roles=["nobody knows this"]))
    assert (nothing.status_code, "the token of cy has none" in nothing.json()["detail"]) == (403, True)


@pytest.mark.parametrize(
    "roles",
    [None, 7, {"desk": True}, [["desk"], None, 3, {}], "", [], "DESK", ["desk\x00"], "agent", ["administrator"]],
)
async def test_claims_of_another_shape_or_name_give_no_role(house: House, roles: Any) -> None:
    answer = await house.get("/v1/brands", house.provider.token(roles=roles))
    assert answer.status_code == 403


async def test_every_kind_of_key_signs(house: House) -> None:
    for kind in ("EC", "OKP", "RSA"):
        house.provider.rotate(kind, kind)
        house.later(FLOOR)
        assert (await house.me(house.provider.token(roles="desk")))["roles"] == ["agent"]


Forge = Callable[[Provider], str]


def part(document: Any) -> str:
    """One part of a JWT."""
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(provider: Provider, private: rsa.RSAPrivateKey | None = None, **header: Any) -> str:
    """Signed by hand, with what a library would not sign."""
    key = provider.keys["one"]
    assert isinstance(key, RSAKey)
    private = private or cast(rsa.RSAPrivateKey, key.private_key)
    text = f"{part({'alg': 'RS256', 'kid': 'one', **header})}.{part(provider.claims(roles='desk'))}"
    return f"{text}.{part(private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def by_public_key(provider: Provider, form: str) -> str:
    """Signed with the public key taken for a shared secret."""
    public = provider.keys["one"]
    secret = public.as_pem(private=False) if form == "pem" else json.dumps(public.as_dict(private=False)).encode()
    text = f"{part({'alg': 'HS256', 'kid': 'one'})}.{part(provider.claims(roles='desk'))}"
    return f"{text}.{part(hmac.digest(secret, text.encode(), 'sha256'))}"


def unsigned(provider: Provider, algorithm: str) -> str:
    """With no signature."""
    return ".".join((part({"alg": algorithm, "kid": "one"}), part(provider.claims(roles="desk")), ""))


def cut(provider: Provider) -> str:
    """With another payload under the same signature."""
    head, _, signature = provider.token(roles="desk").split(".")
    return ".".join((head, part(provider.claims("eve", roles=["cn=root,ou=groups"])), signature))


def beside(provider: Provider, **about: Any) -> str:
    """Signed with a key that is published for something else."""
    other = make_key("RSA", "forged")
    provider.published.append({**other.as_dict(private=False), "kid": "other", **about})
    return provider.token(key=other, kid="other", roles="desk")


def small(provider: Provider) -> str:
    """Signed with a published key of 1024 bits."""
    other = rsa.generate_private_key(65537, 1024)
    numbers = other.public_key().public_numbers()
    n, e = (part(one.to_bytes((one.bit_length() + 7) // 8)) for one in (numbers.n, numbers.e))
    provider.published.append({"kty": "RSA", "kid": "small", "n": n, "e": e})
    return signed(provider, other, kid="small")


def nested(provider: Provider) -> str:
    """With claims that are nested without end."""
    deep = b"[" * 6000 + b"]" * 6000
    return ".".join((part({"alg": "RS256", "kid": "one"}), part(deep), "AAAA"))


FORGED: dict[str, tuple[Forge, str]] = {
    "no signature": (lambda p: unsigned(p, "none"), "signed with none"),
    "no signature, spelt otherwise": (lambda p: unsigned(p, "nOnE"), "signed with nOnE"),
    "the signature left out": (lambda p: unsigned(p, "RS256"), "signature is wrong"),
    "the public key as a secret": (lambda p: by_public_key(p, "pem"), "signed with HS256"),
    "the JWK as a secret": (lambda p: by_public_key(p, "jwk"), "signed with HS256"),
    "another key of the same name": (lambda p: p.token(key=make_key("RSA", "forged"), kid="one"), "signature is wrong"),
    "an unknown key": (lambda p: p.token(key=make_key("RSA", "forged"), kid="mine"), "not among the provider's"),
    "its own key in the header": (
        lambda p: signed(p, jwk=make_key("RSA", "forged").as_dict(private=False), kid="x"),
        "no signed JWT",
    ),
    "another payload": (cut, "signature is wrong"),
    "a key for encryption": (lambda p: beside(p, use="enc"), "not among the provider's"),
    "a key of another algorithm": (lambda p: beside(p, alg="PS256"), "not among the provider's"),
    "a key that may not verify": (lambda p: beside(p, key_ops=["encrypt"]), "not among the provider's"),
    "a small key": (small, "not among the provider's"),
    "a critical extension": (lambda p: signed(p, crit=["exp"], exp=1), "signature is wrong"),
    "a logout token": (lambda p: p.token(header={"typ": "logout+jwt"}), "another type"),
    "nested without end": (nested, "signature is wrong"),
    "another issuer": (lambda p: p.token(iss="https://login.example.org"), "issued by somebody else"),
    "another issuer by a slash": (lambda p: p.token(iss=f"{p.url}/"), "issued by somebody else"),
    "an issuer among others": (lambda p: p.token(iss=[p.url]), "issued by somebody else"),
    "no issuer": (lambda p: p.token(iss=None), "lacks the claim iss"),
    "another audience": (lambda p: p.token(aud="the-shop"), "another audience"),
    "another audience by a space": (lambda p: p.token(aud=f"{AUDIENCE} "), "another audience"),
    "an empty audience": (lambda p: p.token(aud=[]), "another audience"),
    "an audience in an audience": (lambda p: p.token(aud=[[AUDIENCE]]), "another audience"),
    "no audience": (lambda p: p.token(aud=None), "lacks the claim aud"),
    "no end": (lambda p: p.token(exp=None), "lacks the claim exp"),
    "an end that is no time": (lambda p: p.token(exp="tomorrow"), "exp is not valid"),
    "an end that never comes": (lambda p: p.token(exp=float("inf")), "exp is not valid"),
    "no number as its end": (lambda p: p.token(exp=float("nan")), "exp is not valid"),
    "nobody": (lambda p: p.token(sub=None), "lacks the claim sub"),
    "an empty name": (lambda p: p.token(sub=""), "sub is not valid"),
    "a name with a NUL": (lambda p: p.token(sub="ada\x00"), "sub names nobody"),
    "a number as a name": (lambda p: p.token(sub=7), "sub is not valid"),
    "too long": (lambda p: p.token(filler="x" * 20_000), "more than 16384 characters"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_token_opens_nothing_and_is_told_why(house: House, name: str) -> None:
    forge, reason = FORGED[name]
    assert reason in await house.refused(forge(house.provider))
    # the same, honestly made, opens
    assert (await house.me(house.provider.token(roles="desk")))["roles"] == ["agent"]


@pytest.mark.parametrize("given", ["ey.ey.ey", "eyJ.eyJ.", "ey€.ey.x", "a.b.c", "eyJhbGciOiJSUzI1NiJ9.e30", "x" * 5000])
async def test_what_is_no_token_is_no_key_either(house: House, given: str) -> None:
    async with house.api.caller(None) as nobody:
        header = {"Authorization": f"Bearer {given}".encode()}
        answer = await nobody.get("/v1/brands", headers=header)  # type: ignore[arg-type]
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("claim", "beyond", "opens"),
    [
        ("exp", timedelta(seconds=-59), True),
        ("exp", timedelta(seconds=-60), False),
        ("nbf", timedelta(seconds=60), True),
        ("nbf", timedelta(seconds=61), False),
        ("iat", timedelta(seconds=60), True),
        ("iat", timedelta(seconds=61), False),
    ],
)
async def test_clocks_may_differ_by_a_minute_and_no_more(
    house: House, claim: str, beyond: timedelta, opens: bool
) -> None:
    at = int((house.clock.now() + beyond).timestamp())
    answer = await house.get("/v1/tickets", house.provider.token(roles="desk", **{claim: at}))
    assert answer.status_code == (200 if opens else 401), answer.text


async def test_keys_are_rotated_and_withdrawn_without_a_restart(house: House) -> None:
    old = house.provider.token(roles="desk", exp=int((house.clock.now() + MANY).timestamp()))
    assert await house.me(old)
    house.later(FLOOR)
    house.provider.rotate("two")
    # the new key is fetched for the token that names it, the old one still opens
    assert await house.me(house.provider.token(roles="desk"))
    assert await house.me(old)
    house.provider.rotate("three", keep=False)
    house.later(FLOOR)
    assert await house.me(house.provider.token(roles="desk"))
    assert "not among the provider's" in await house.refused(old)


async def test_made_up_keys_do_not_make_us_call_the_provider(house: House) -> None:
    assert await house.me(house.provider.token(roles="desk"))
    house.later(FLOOR)
    before = house.provider.fetched()
    forged = [house.provider.token(key=house.provider.keys["one"], kid=f"k{number}") for number in range(20)]
    await asyncio.gather(*(house.refused(one) for one in forged[:10]))
    for one in forged[10:]:
        await house.refused(one)
    assert house.provider.fetched() - before == 1
    assert house.provider.fetched("/.well-known/openid-configuration") <= house.provider.fetched()


async def test_a_token_without_a_key_id_needs_a_provider_with_one_key(house: House) -> None:
    assert await house.me(house.provider.token(roles="desk", header={"kid": None}))
    house.provider.rotate("two")
    house.later(timedelta(days=2))
    assert "not among the provider's" in await house.refused(house.provider.token(header={"kid": None}))


async def test_an_outage_of_the_provider_is_not_the_callers_fault(house: House) -> None:
    token = house.provider.token(roles="desk", exp=int((house.clock.now() + 2 * MANY).timestamp()))
    house.provider.faults.append(Fault("status_before", status=502, times=None))
    first = await house.get("/v1/brands", token)
    assert (first.status_code, first.json()["type"]) == (503, "urn:helpdesk-gateway:problem:unavailable")
    assert "OpenID Connect provider cannot be asked" in first.json()["detail"]
    assert int(first.headers["retry-after"]) >= 1
    # API keys go on
    async with house.api.caller(KEY) as operator:
        assert (await operator.get("/v1/brands")).status_code == 200
    # and it is tried again by itself
    house.provider.faults.clear()
    house.later(RETRY)
    assert await house.me(token)
    # what is known is used through the next outage, but a key that is not known can be neither believed nor refused
    house.provider.faults.append(Fault("status_before", status=502, times=None))
    house.later(timedelta(hours=23))
    assert await house.me(token)
    unknown = house.provider.token(key=house.provider.keys["one"], kid="fresh")
    house.later(RETRY)
    assert (await house.get("/v1/brands", unknown)).status_code == 503
    # for a day; then a key may have been withdrawn
    house.later(USABLE + timedelta(hours=2))
    assert (await house.get("/v1/brands", token)).status_code == 503


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://login.example.org"},
        {"jwks_uri": None},
        {"jwks_uri": "http://keys.example.org/keys"},
        {"jwks_uri": "http://10.0.0.1/keys"},
        {"jwks_uri": ["http://127.0.0.1/keys"]},
    ],
)
async def test_metadata_of_somebody_else_is_not_believed(house: House, metadata: dict[str, Any]) -> None:
    house.provider.metadata.update(metadata)
    assert (await house.get("/v1/brands", house.provider.token(roles="desk"))).status_code == 503


async def test_a_verified_address_says_whose_token_it_is(house: House) -> None:
    made = await house.api.made("/v1/people", name="Ada", emails=["Ada@Example.com"])
    token = house.provider.token
    unverified = [{"email_verified": False}, {}, {"email_verified": "no"}, {"email_verified": 1}]
    for verified in unverified:
        assert (await house.me(token("s1", roles="desk", email="ada@example.com", **verified)))["person"] is None
    linked = token("s1", roles="desk", email="ADA@example.com", email_verified=True)
    assert (await house.me(linked))["person"] == made["id"]
    # which is kept, whatever the address is later
    assert (await house.me(token("s1", roles="desk")))["person"] == made["id"]
    shown = (await house.api.http.get(f"/v1/people/{made['id']}")).json()
    assert shown["subjects"] == [{"issuer": house.provider.url, "subject": "s1"}]
    # one who has left has no way in, and can be let in again as somebody
    assert (await house.api.http.delete(f"/v1/people/{made['id']}")).status_code == 204
    assert "removed from the people" in await house.refused(linked)
    again = await house.api.made("/v1/people", name="Ada", subjects=shown["subjects"])
    assert (await house.me(linked))["person"] == again["id"]
    taken = await house.api.http.post("/v1/people", json={"name": "Eve", "subjects": shown["subjects"]})
    assert (taken.status_code, taken.json()["errors"][0]["field"]) == (422, "subjects.0")


async def test_twenty_first_requests_at_once_make_one_link(house: House) -> None:
    made = await house.api.made("/v1/people", name="Cy", emails=["cy@example.com"])
    token = house.provider.token("s2", roles="desk", email="cy@example.com", email_verified=True)
    answers = await asyncio.gather(*(house.get("/v1/brands", token) for _ in range(20)))
    assert {one.status_code for one in answers} == {200}
    assert (await house.me(token))["person"] == made["id"]


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": "Z\x00oe\n <b>", "email": "x"}, "Zoe <b>"),
        ({"name": "\x00", "preferred_username": "zoe"}, "zoe"),
        ({"name": ["Zoe"], "preferred_username": 3}, "ada"),
        ({"name": "n" * 5000}, "n" * 200),
        ({"name": "Zoë 👩‍💻"}, "Zoë 👩💻"),
    ],
)
async def test_odd_names_are_shown_as_far_as_they_can_be(house: House, claims: dict[str, Any], name: str) -> None:
    assert (await house.me(house.provider.token(roles="desk", **claims)))["name"] == name


async def test_an_idempotency_key_is_of_the_subject_whatever_the_token(house: House) -> None:
    async def make(subject: str) -> httpx2.Response:
        house.later(timedelta(seconds=1))
        async with house.api.caller(house.provider.token(subject, roles="leads")) as caller:
            headers = {"Idempotency-Key": "a-brand"}
            return await caller.post("/v1/brands", json={"name": f"of {subject}"}, headers=headers)

    first, again, other = await make("ann"), await make("ann"), await make("bob")
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 201)
    assert first.json() == again.json() != other.json()
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_claim_can_be_nested_and_an_address_trusted(server_url: str, tmp_path: Any) -> None:  # noqa: F811
    changes = {"oidc_role_claim": "realm_access.roles", "oidc_trust_email": True, "oidc_leeway": 0.0}
    async with housed(server_url, tmp_path, **changes) as house:
        token = house.provider.token
        assert (await house.me(token(realm_access={"roles": ["desk"]})))["roles"] == ["agent"]
        # a claim whose very name has the dot comes first
        flat = await house.me(token(**{"realm_access.roles": "leads", "realm_access": {"roles": ["desk"]}}))
        assert flat["roles"] == ["approver", "operator"]
        made = await house.api.made("/v1/people", name="Ada", emails=["ada@example.com"])
        mine = {"realm_access": {"roles": ["desk"]}, "email": "ada@example.com"}
        assert (await house.me(token("s1", **mine, email_verified=False)))["person"] is None
        assert (await house.me(token("s1", **mine)))["person"] == made["id"]
        ended = token(realm_access={"roles": ["desk"]}, exp=int(house.clock.now().timestamp()))
        assert "expired" in await house.refused(ended)


async def test_without_a_provider_a_token_is_an_unknown_key(api: Api) -> None:
    provider = Provider()
    provider.url = "http://127.0.0.1:1"
    async with api.caller(provider.token()) as caller:
        assert (await caller.get("/v1/brands")).status_code == 401
