"""Ready policy sets: they fit the installed types, change nothing by themselves, and come into force in one call."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.policy.content import Content
from gateway.policy.library import checked, ensure_defaults
from gateway.policy.profiles import missing, profiles
from gateway.registry import Registry
from support.gateway import fresh_database, settings_for
from support.postgres import server_url  # noqa: F401  a fixture
from support.rest import Api, serving


@pytest.fixture(scope="module")
async def api(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:  # noqa: F811
    """A gateway with the shipped defaults in force."""
    settings = settings_for("", tmp_path_factory.mktemp("data"))
    async with fresh_database(server_url) as url:
        settings = settings.model_copy(update={"database_url": settings_for(url, settings.data_dir).database_url})
        registry = Registry.load()
        async with serving(settings, registry) as served:
            await ensure_defaults(served.runtime.database, registry, served.runtime.now())
            yield served


@pytest.mark.parametrize("name", ["airline", "finance", "general", "health"])
def test_a_profile_fits_the_policies_that_ship(name: str) -> None:
    registry, profile = Registry.load(), profiles()[name]
    assert missing(profile, registry) == []
    for one in profile.policies:
        content = checked(registry, one.type, Content(mode=one.mode, params=one.params))
        assert one.params.keys() <= content.params.keys()
        assert one.why.endswith(".")


async def test_a_profile_becomes_revisions_and_comes_into_force_in_one_call(api: Api) -> None:
    before = (await api.http.get("/v1/policies/in-force")).json()
    made = await api.made("/v1/policy-profiles/health/revisions", reason="we are a clinic")
    assert made["missing"] == []
    offline = next(one for one in made["policies"] if one["type"] == "take_it_offline")
    assert {"field": "params.regulated", "from": False, "to": True} in offline["differences"]
    assert (await api.http.get("/v1/policies/in-force")).json() == before, "nothing is in force yet"

    items = [{"policy": one["policy"], "revision": one["revision"]} for one in made["policies"]]
    answer = await api.http.post("/v1/policies/activate", json={"policies": items, "reason": "we are a clinic"})
    assert answer.status_code == 200, answer.text
    members = {one["type"]: one for one in (await api.http.get("/v1/policies/in-force")).json()["policies"]}
    assert members["take_it_offline"]["params"]["regulated"] is True
    assert (members["four_eyes"]["mode"], members["four_eyes"]["params"]["kinds"]) == ("on", ["review"])
    assert members["keep_promises"]["revision"] == 1, "what the profile does not name stays as it is"

    again = await api.made("/v1/policy-profiles/health/revisions", reason="once more")
    assert [one["differences"] for one in again["policies"]] == [[]] * len(again["policies"])


async def test_a_brand_gets_policies_of_its_own(api: Api) -> None:
    await api.made("/v1/brands", name="Acme Air")
    made = await api.made("/v1/policy-profiles/airline/revisions", reason="they fly", brand="Acme Air")
    assert "response-sla-Acme Air" in {one["name"] for one in made["policies"]}
    kept = (await api.http.get("/v1/policies?type=response_sla")).json()["items"]
    assert sorted((one["brand"] or "") for one in kept) == ["", "Acme Air"]


async def test_what_there_is_not_is_said(api: Api) -> None:
    answer = await api.http.post("/v1/policy-profiles/circus/revisions", json={"reason": "why not"})
    assert (answer.status_code, "circus" in answer.text) == (404, True)
    answer = await api.http.post("/v1/policy-profiles/health/revisions", json={"reason": "r", "brand": "nobody"})
    assert (answer.status_code, "brand" in answer.text) == (422, True)
    assert (await api.http.get("/v1/policy-profiles/finance")).json()["title"].startswith("Banks")
    assert len((await api.http.get("/v1/policy-profiles")).json()["items"]) == 4
