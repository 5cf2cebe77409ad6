"""Accounts connected by OAuth, against the twins: the way there and back, and everything that must not get through."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import UUID

import pytest

from gateway.oauth.flow import LIVES
from gateway.registry import Registry
from gateway_google_business.twin import GoogleTwin
from gateway_mastodon.twin import MastodonTwin
from gateway_meta.twin import MetaTwin
from gateway_schemas.testing.twin import Fault
from gateway_x.twin import XTwin
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import LOOPBACK, fresh_database, settings_for
from support.oauth import (
    api,  # noqa: F401  fixtures
    at_x,
    config_of,
    connect,
    opened,
    renew,
    returned,
    sent_off,
    shown,
    tokens_of,
    x,  # noqa: F401
)
from support.openid import AUDIENCE, Provider
from support.postgres import server_url  # noqa: F401
from support.rest import KEY, Api, serving

# ruff: noqa: F811  a test's argument is the fixture of that name


async def test_an_account_at_x_is_connected(api: Api, x: XTwin, name: str) -> None:
    made = await at_x(api, x, name)
    assert (made["health"]["status"], made["account"]) == ("needs_authorisation", None)
    assert made["authorisation"]["state"] == "wanted"
    assert "/authorize" in made["authorisation"]["mend"]
    page = await connect(api, made)
    assert (page.status_code, "Connected" in page.text) == (200, True)
    user = x.state.user("AcmeSupport")
    after = await shown(api, made)
    assert (after["health"]["status"], after["account"]) == ("active", user.id)
    assert after["config"]["username"] == "AcmeSupport"
    assert "access_token" not in after["config"]
    consent = after["authorisation"]
    assert (consent["state"], consent["granted_by"], consent["mend"]) == ("granted", "first key", None)
    assert "offline.access" in consent["scopes"]
    assert consent["renewed_at"] < consent["renew_at"] < consent["access_expires_at"]
    token = (await config_of(api, made))["access_token"]
    assert x.state.tokens[token].user_id == user.id
    assert (await api.http.post(f"/v1/connections/{made['id']}/discover")).json()["items"][0]["external_id"] == user.id
    (asked,) = x.renewals.server.asked
    assert (asked["code_challenge_method"], asked["redirect_uri"]) == ("S256", f"{api.url}/oauth/callback")
    assert dict(parse_qsl(urlsplit(str(page.url)).query))["code"] not in page.text
    exported = (await api.http.get("/v1/config/export")).json()["documents"]
    [document] = [one for one in exported if one["kind"] == "connections" and one["content"]["name"] == name]
    assert (document["content"]["by_oauth"], "access_token" in document["content"]["config"]) == (True, False)
    plan = (await api.http.post("/v1/config/plan", json={"documents": [document]})).json()
    assert (plan["changes"], plan["unchanged"]) == ([], 1), "its file says what it is, without what OAuth brought"
    assert (await api.http.post(f"/v1/connections/{made['id']}/disconnect")).status_code == 200
    on_record = await api.rows(
        "SELECT action, actor_name, CAST(e AS text) AS whole FROM audit_entry e ORDER BY seq DESC LIMIT 3"
    )
    assert [(row["action"], row["actor_name"]) for row in on_record] == [
        ("disconnect_connection", "first key"),
        ("finish_authorization", "first key"),
        ("authorize_connection", "first key"),
    ]
    assert [secret for row in on_record for secret in (token, KEY) if secret in row["whole"]] == []


async def test_google_keeps_its_refresh_token_and_gives_it_again_only_when_asked(api: Api, name: str) -> None:
    google = GoogleTwin()
    google.add_account("100", "Acme")
    google.sign_in("owner")
    async with google.serve():
        app = await api.made(
            "/v1/apps", plugin="google_business", name=name, config=google.app_config(), allow_private=LOOPBACK
        )
        made = await api.made(
            "/v1/connections", plugin="google_business", name=name, app=app["id"], by_oauth=True, allow_private=LOOPBACK
        )
        for _ in range(2):
            assert (await connect(api, made)).status_code == 200
            after = await shown(api, made)
            assert (after["health"]["status"], after["account"]) == ("active", "accounts/100")
            tokens = await tokens_of(api, made)
            assert tokens["refresh"] == google.state.users["owner"].refresh_token
        (_, second) = google.business.server.asked
        assert (second["prompt"], second["access_type"]) == ("consent", "offline")
        before = await config_of(api, made)
        await renew(api, made)
        after = await config_of(api, made)
        assert before["access_token"] != after["access_token"]
        assert google.state.tokens[after["access_token"]][0] == "owner"
        assert (await tokens_of(api, made))["refresh"] == tokens["refresh"], "it was in no answer, and is kept"
        answer = await api.http.post(f"/v1/connections/{made['id']}/discover")
        assert answer.status_code == 200


async def test_meta_gives_a_short_token_which_is_exchanged_for_one_that_lasts(api: Api, name: str) -> None:
    meta = MetaTwin()
    page = meta.add_page("acme")
    meta.add_instagram("acme.gram", page=page.id)
    meta.sign_in("manager")
    async with meta.serve():
        app = await api.made("/v1/apps", plugin="meta", name=name, config=meta.app_config(), allow_private=LOOPBACK)
        for platform in ("page", "instagram"):
            made = await api.made(
                "/v1/connections",
                plugin="meta",
                name=f"{name}-{platform}",
                app=app["id"],
                by_oauth=True,
                config={"platform": platform},
                allow_private=LOOPBACK,
            )
            answer = await connect(api, made)
            assert answer.status_code == 200, answer.text
            after = await shown(api, made)
            config = await config_of(api, made)
            assert after["health"]["status"] == "active", after["health"]
            assert config["access_token"].startswith("EAtwin-long-")
            assert (config["account_id"] == page.id) is (platform == "page")
            assert after["authorisation"]["renew_at"] is None
            # the Page's own token is found with it, and is in neither column that anybody is shown
            assert "EAtwin" not in str(after)
            assert (await api.http.post(f"/v1/connections/{made['id']}/discover")).status_code == 200


async def test_a_mastodon_server_registers_the_gateway_once(api: Api, name: str) -> None:
    server = MastodonTwin(limits=False)
    account = server.add_brand("support")
    server.sign_in("support")
    async with server.serve():
        made = await api.made(
            "/v1/connections",
            plugin="mastodon",
            name=name,
            by_oauth=True,
            config={"base_url": server.url},
            allow_private=LOOPBACK,
        )
        for _ in range(2):
            assert (await connect(api, made)).status_code == 200
        assert len([one for one in server.ledger if one.kind == "client"]) == 1
        after = await shown(api, made)
        assert (after["health"]["status"], after["account"]) == ("active", "support@masto.acme.example")
        assert (after["authorisation"]["renew_at"], after["authorisation"]["access_expires_at"]) == (None, None)
        assert (await config_of(api, made))["access_token"] == account.token


async def test_zendesk_reads_json_and_rotates(api: Api, name: str) -> None:
    desk = ZendeskTwin()
    desk.limits.off()
    desk.sign_in("ann")
    async with desk.serve():
        made = await api.made(
            "/v1/connections",
            plugin="zendesk",
            name=name,
            by_oauth=True,
            config={
                "base_url": desk.url,
                "oauth_client_id": desk.consent.client_id,
                "oauth_client_secret": desk.consent.client_secret,
            },
            allow_private=LOOPBACK,
        )
        assert (await connect(api, made)).status_code == 200
        before = await tokens_of(api, made)
        consent = (await shown(api, made))["authorisation"]
        assert consent["refresh_expires_at"] > consent["access_expires_at"] > consent["renew_at"]
        await renew(api, made)
        after = await tokens_of(api, made)
        assert before["access"] != after["access"]
        assert before["refresh"] != after["refresh"]
        assert desk.consent.good(f"Bearer {after['access']}")
        assert not desk.consent.good(f"Bearer {before['access']}")
        checked = await api.http.post(f"/v1/connections/{made['id']}/check")
        assert "http_401" not in checked.text


def asked_of(url: str) -> dict[str, str]:
    """The query of an address."""
    return dict(parse_qsl(urlsplit(url).query))


def tokens_given(x: XTwin) -> int:
    """How often X gave tokens."""
    return len([effect for effect in x.ledger if effect.kind == "token"])


async def unconnected(api: Api, made: dict[str, Any]) -> None:
    """Nothing was kept of what came."""
    after = await shown(api, made)
    assert (after["health"]["status"], after["authorisation"]["state"]) == ("needs_authorisation", "wanted")
    assert await tokens_of(api, made) == {}


async def test_a_state_is_taken_once(api: Api, x: XTwin, name: str) -> None:
    made = await at_x(api, x, name)
    back = await returned(await sent_off(api, made))
    answers = await asyncio.gather(*(opened(back) for _ in range(4)))
    assert sorted(one.status_code for one in answers) == [200, 400, 400, 400]
    assert tokens_given(x) == 1
    again = await opened(back)
    assert (again.status_code, "used before" in again.text) == (400, True)
    assert (await shown(api, made))["health"]["status"] == "active"


@pytest.mark.parametrize("state", ["", "made-up", "x" * 5000, "null\u0000byte"])
async def test_a_state_nobody_was_given_opens_nothing(api: Api, x: XTwin, name: str, state: str) -> None:
    made = await at_x(api, x, name)
    code = asked_of(await returned(await sent_off(api, made)))["code"]
    async with api.caller(None) as browser:
        answer = await browser.get("/oauth/callback", params={"state": state, "code": code})
    assert answer.status_code == 400
    assert tokens_given(x) == 0
    await unconnected(api, made)


async def test_a_state_is_of_one_connection_and_its_verifier(api: Api, x: XTwin, name: str) -> None:
    mine, other = await at_x(api, x, name), await at_x(api, x, f"{name}-other")
    back, foreign = [await returned(await sent_off(api, one)) for one in (mine, other)]
    # a code slipped under another journey's state, which is what PKCE is for
    mixed = back.split("?")[0] + "?" + urlencode({"state": asked_of(back)["state"], "code": asked_of(foreign)["code"]})
    answer = await opened(mixed)
    assert (answer.status_code, "did not take the code" in answer.text) == (502, True)
    assert tokens_given(x) == 0
    await unconnected(api, mine)
    await unconnected(api, other)


async def test_a_state_ends(api: Api, x: XTwin, name: str) -> None:
    made = await at_x(api, x, name)
    back = await returned(await sent_off(api, made))
    await api.execute(
        "UPDATE authorisation_request SET expires_at = :past WHERE connection_id = :id",
        past=api.runtime.now() - timedelta(seconds=1),
        id=UUID(made["id"]),
    )
    answer = await opened(back)
    assert (answer.status_code, f"more than {LIVES.seconds // 60} minutes" in answer.text) == (400, True)
    await unconnected(api, made)
    assert tokens_given(x) == 0


@pytest.mark.parametrize("change", ["revoked_at = now()", "expires_at = now()", "scopes = '{read}'"])
async def test_a_state_is_bound_to_a_key_that_still_may(api: Api, x: XTwin, name: str, change: str) -> None:
    made = await at_x(api, x, name)
    key = await api.made("/v1/keys", name=name, scopes=["connections"])
    async with api.caller(key["key"]) as caller:
        url = (await caller.post(f"/v1/connections/{made['id']}/authorize")).json()["url"]
    back = await returned(url)
    await api.execute(f"UPDATE api_key SET {change} WHERE id = :id", id=UUID(key["id"]))
    answer = await opened(back)
    assert (answer.status_code, "may not connect accounts any more" in answer.text) == (400, True)
    await unconnected(api, made)
    assert tokens_given(x) == 0


async def test_on_record_is_who_really_began_it(server_url: str, tmp_path: Path, x: XTwin, name: str) -> None:
    """With a token as with a key; a person who was removed meanwhile connects nothing."""
    provider = Provider()
    async with provider.serve(), fresh_database(server_url) as url:
        oidc: dict[str, Any] = {
            "oidc_issuer": provider.url,
            "oidc_audience": (AUDIENCE,),
            "oidc_roles": {"root": "administrator"},
            "oidc_allow_private": tuple(LOOPBACK),
        }
        async with serving(settings_for(url, tmp_path, **oidc), Registry.load()) as api:
            made = await at_x(api, x, name)
            key = await api.made("/v1/keys", name="Bo's key", scopes=["connections"])
            token = provider.token("ada", roles=["root"], name="Ada")
            for given in (token, key["key"]):
                async with api.caller(given) as caller:
                    sent = (await caller.post(f"/v1/connections/{made['id']}/authorize")).json()["url"]
                assert (await opened(await returned(sent))).status_code == 200
            told = await api.rows(
                """SELECT actor_kind, actor_id, actor_name, key_prefix FROM audit_entry
                   WHERE action = 'finish_authorization' ORDER BY seq"""
            )
            assert [tuple(one.values()) for one in told] == [
                ("subject", f"{provider.url} ada", "Ada", None),
                ("key", key["id"], "Bo's key", key["prefix"]),
            ]
            async with api.caller(token) as caller:
                sent = (await caller.post(f"/v1/connections/{made['id']}/authorize")).json()["url"]
            subject = {"issuer": provider.url, "subject": "ada"}
            person = await api.made("/v1/people", name="Ada", subjects=[subject])
            assert (await api.http.delete(f"/v1/people/{person['id']}")).is_success
            answer = await opened(await returned(sent))
            assert (answer.status_code, "may not connect accounts any more" in answer.text) == (400, True)


async def test_a_person_declines(api: Api, x: XTwin, name: str) -> None:
    made = await at_x(api, x, name)
    x.renewals.server.decline = True
    answer = await connect(api, made)
    assert (answer.status_code, "you declined" in answer.text) == (400, True)
    await unconnected(api, made)
    x.renewals.server.decline = False
    assert (await connect(api, made)).status_code == 200


async def test_a_person_withholds_a_scope(api: Api, x: XTwin, name: str) -> None:
    made = await at_x(api, x, name)
    x.renewals.server.withheld = {"tweet.write"}
    answer = await connect(api, made)
    assert (answer.status_code, "did not grant tweet.write" in answer.text) == (400, True)
    await unconnected(api, made)


async def test_a_person_is_signed_in_as_somebody_else(api: Api, x: XTwin, name: str) -> None:
    made = await at_x(api, x, name)
    assert (await connect(api, made)).status_code == 200
    before = await tokens_of(api, made)
    x.sign_in("OtherBrand")
    answer = await connect(api, made)
    assert (answer.status_code, "signed in as OtherBrand" in answer.text) == (400, True)
    assert await tokens_of(api, made) == before
    assert (await shown(api, made))["health"]["status"] == "active"


async def test_an_account_is_connected_once_for_each_app(api: Api, x: XTwin, name: str) -> None:
    made = await at_x(api, x, name)
    assert (await connect(api, made)).status_code == 200
    second = await api.made(
        "/v1/connections",
        plugin="x",
        name=f"{name}-2",
        app=made["app"],
        by_oauth=True,
        config={"direct_messages": False},
        allow_private=LOOPBACK,
    )
    answer = await connect(api, second)
    assert (answer.status_code, f"connected already, as {name}" in answer.text) == (400, True)
    await unconnected(api, second)


async def test_several_accounts_leave_the_choice_to_the_admin(api: Api, name: str) -> None:
    google = GoogleTwin()
    google.add_account("100", "Acme")
    google.add_account("200", "Acme & Sons <b>")
    google.sign_in("owner")
    async with google.serve():
        app = await api.made(
            "/v1/apps", plugin="google_business", name=name, config=google.app_config(), allow_private=LOOPBACK
        )
        made = await api.made(
            "/v1/connections", plugin="google_business", name=name, app=app["id"], by_oauth=True, allow_private=LOOPBACK
        )
        answer = await connect(api, made)
        assert (answer.status_code, "Almost connected" in answer.text) == (200, True)
        assert "<b>" not in answer.text
        after = await shown(api, made)
        assert after["health"]["status"] == "needs_authorisation"
        assert "accounts/200: Acme &amp; Sons" in answer.text
        assert "set account_id to one of them" in after["health"]["status_reason"]
        assert (await api.http.post(f"/v1/connections/{made['id']}/resume")).json()["health"]["status"] != "active"
        chosen = await api.http.patch(f"/v1/connections/{made['id']}", json={"config": {"account_id": "200"}})
        assert chosen.json()["health"]["status"] == "active", chosen.text
        assert chosen.json()["account"] == "accounts/200"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [("/2/oauth2/token", 502, "The provider failed"), ("/2/users/me", 502, "The provider failed")],
)
async def test_a_provider_fails_on_the_way_back(
    api: Api, x: XTwin, name: str, path: str, status: int, words: str
) -> None:
    made = await at_x(api, x, name)
    back = await returned(await sent_off(api, made))
    x.faults.append(Fault("status_before", path=path, status=503))
    answer = await opened(back)
    assert (answer.status_code, words in answer.text) == (status, True)
    await unconnected(api, made)


async def test_a_client_that_the_provider_does_not_know(api: Api, x: XTwin, name: str) -> None:
    made = await at_x(api, x, name)
    back = await returned(await sent_off(api, made))
    x.client_secret = "changed-at-x"
    answer = await opened(back)
    assert (answer.status_code, "enter the current ones" in answer.text) == (502, True)
    assert "twin-client-secret" not in answer.text
    await unconnected(api, made)


async def test_an_app_without_a_client_id_says_what_is_missing(api: Api, x: XTwin, name: str) -> None:
    config = {**x.app_config(), "client_id": None}
    app = await api.made("/v1/apps", plugin="x", name=name, config=config, allow_private=LOOPBACK)
    made = await api.made("/v1/connections", plugin="x", name=name, app=app["id"], by_oauth=True)
    answer = await api.http.post(f"/v1/connections/{made['id']}/authorize")
    assert (answer.status_code, "client_id" in answer.json()["detail"]) == (409, True)


async def test_nothing_is_asked_of_a_provider_before(api: Api, x: XTwin, name: str) -> None:
    made = await at_x(api, x, name)
    for action in ("check", "discover", "install"):
        answer = await api.http.post(f"/v1/connections/{made['id']}/{action}")
        assert (answer.status_code, "not connected yet" in answer.json()["detail"]) == (409, True)
    resumed = (await api.http.post(f"/v1/connections/{made['id']}/resume")).json()
    assert resumed["health"]["status"] == "needs_authorisation"
    changed = await api.http.patch(f"/v1/connections/{made['id']}", json={"config": {"history_days": 5}})
    assert changed.json()["health"]["status"] == "needs_authorisation", changed.text
    assert "user_id" not in changed.json()["config"]
    # whoever enters credentials after all says which account it is: what stood in for it is none
    half = await api.http.patch(f"/v1/connections/{made['id']}", json={"config": {"access_token": "by-hand"}})
    assert (half.status_code, [one["field"] for one in half.json()["errors"]]) == (
        422,
        ["config.user_id", "config.username"],
    )
    assert x.requests == []
    config = {"access_token": "by-hand", "user_id": "7", "username": "acme"}
    whole = await api.http.patch(f"/v1/connections/{made['id']}", json={"config": config})
    assert (whole.json()["health"]["status"], whole.json()["account"]) == ("active", "7")


async def test_credentials_entered_by_hand_work_until_the_account_is_connected(api: Api, x: XTwin, name: str) -> None:
    app = await api.made("/v1/apps", plugin="x", name=name, config=x.app_config(), allow_private=LOOPBACK)
    config = x.connection_config("AcmeSupport", refresh_token="by-hand-refresh", direct_messages=False)
    made = await api.made(
        "/v1/connections", plugin="x", name=name, app=app["id"], config=config, allow_private=LOOPBACK
    )
    by_hand = await config_of(api, made)
    back = await returned(await sent_off(api, made))
    assert await config_of(api, made) == by_hand
    assert (await shown(api, made))["authorisation"] is None
    assert (await opened(back)).status_code == 200
    connected = await config_of(api, made)
    assert connected["access_token"] == (await tokens_of(api, made))["access"] != by_hand["access_token"]
    assert connected.get("refresh_token") is None, "the gateway renews; the plugin must not use the same token"
    # and the other way round: credentials entered by hand take the consent's place
    pasted = {"config": {"access_token": by_hand["access_token"]}}
    after = (await api.http.patch(f"/v1/connections/{made['id']}", json=pasted)).json()
    assert (after["authorisation"], after["health"]["status"]) == (None, "active")
    assert (await config_of(api, made))["access_token"] == by_hand["access_token"]


async def test_credentials_and_oauth_at_once_are_refused(api: Api, x: XTwin, name: str) -> None:
    body = {"plugin": "x", "name": name, "by_oauth": True, "config": x.connection_config("AcmeSupport")}
    answer = await api.http.post("/v1/connections", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "config")
    body = {"plugin": "feed", "name": name, "by_oauth": True, "config": {}}
    answer = await api.http.post("/v1/connections", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "by_oauth")


async def test_a_consent_is_given_back(api: Api, x: XTwin, name: str) -> None:
    made = await at_x(api, x, name)
    assert (await api.http.post(f"/v1/connections/{made['id']}/disconnect")).status_code == 409
    await connect(api, made)
    access = (await tokens_of(api, made))["access"]
    answer = await api.http.post(f"/v1/connections/{made['id']}/disconnect")
    assert (answer.status_code, answer.json()) == (200, {"revoked": True})
    assert access not in x.state.tokens
    after = await shown(api, made)
    assert (after["health"]["status"], after["authorisation"]["state"]) == ("needs_authorisation", "wanted")
    assert after["account"] is not None
    assert await tokens_of(api, made) == {}
    assert (await connect(api, made)).status_code == 200


async def test_only_who_may_connect_accounts_begins(api: Api, x: XTwin, name: str) -> None:
    made = await at_x(api, x, name)
    key = await api.made("/v1/keys", name=name, scopes=["read", "operations", "replies"])
    async with api.caller(key["key"]) as caller, api.caller(None) as nobody:
        for action in ("authorize", "disconnect"):
            path = f"/v1/connections/{made['id']}/{action}"
            assert (await caller.post(path)).status_code == 403
            assert (await nobody.post(path)).status_code == 401


async def test_no_secret_leaves_by_logs_or_answers(
    api: Api, x: XTwin, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    made = await at_x(api, x, name)
    seen: list[str] = []
    url = await sent_off(api, made)
    back = await returned(url)
    page = await opened(back)
    seen += [page.text, (await opened(back)).text]
    await renew(api, made)
    tokens = await tokens_of(api, made)
    x.renewals.forget(x.state.user("AcmeSupport").id)
    await renew(api, made)
    for path in ("", "/check", "/discover", "/resume"):
        method = "POST" if path else "GET"
        seen.append((await api.http.request(method, f"/v1/connections/{made['id']}{path}")).text)
    seen.append((await api.http.get("/v1/connections")).text)
    seen.append((await api.http.get("/metrics")).text)
    seen.append(caplog.text)
    columns = await api.rows("SELECT to_jsonb(a) AS row FROM authorisation a")
    columns += await api.rows("SELECT to_jsonb(c) AS row FROM connection c")
    columns += await api.rows("SELECT to_jsonb(r) AS row FROM authorisation_request r")
    columns += await api.rows("SELECT to_jsonb(t) AS row FROM attempt t")
    seen.append(str(columns))
    asked = asked_of(url)
    secrets = [*tokens.values(), asked_of(back)["code"], asked["state"], "twin-client-secret"]
    secrets += [token for token in x.state.tokens if token.startswith("twin-access")]
    for secret in secrets:
        assert secret not in "\n".join(seen), secret[:12]
    assert KEY not in caplog.text
    assert "needs authorisation" in caplog.text
    assert repr(api.runtime.connections).count("twin-") == 0
