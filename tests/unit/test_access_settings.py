"""Settings of who may call: an issuer alone lets nobody in, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from gateway.app import worker_environment
from gateway.security.roles import SCOPES, Role, scopes_of
from gateway.security.scopes import Scope
from gateway.settings import Settings

ISSUER = "https://login.example.com/realms/company"
WHOLE = {"GATEWAY_OIDC_ISSUER": ISSUER, "GATEWAY_OIDC_AUDIENCE": "gw", "GATEWAY_OIDC_ROLES": '{"desk": "agent"}'}


def read(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    """Settings as the environment gives them."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings(_env_file=None)  # type: ignore[call-arg]


def test_the_environment_says_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    roles = '{"desk": "agent", "cn=leads,ou=groups": ["approver", "operator"]}'
    private = {"GATEWAY_OIDC_ALLOW_PRIVATE": "10.1.0.0/16, login.internal:8443"}
    settings = read(
        monkeypatch, **{**WHOLE, **private, "GATEWAY_OIDC_AUDIENCE": "gw, gw-dev", "GATEWAY_OIDC_ROLES": roles}
    )
    assert settings.oidc_audience == ("gw", "gw-dev")
    assert settings.oidc_roles == {"desk": (Role.agent,), "cn=leads,ou=groups": (Role.approver, Role.operator)}
    assert settings.oidc_allow_private == ("10.1.0.0/16", "login.internal:8443")


def test_worker_processes_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, **{**WHOLE, "GATEWAY_OIDC_AUDIENCE": "a,b", "GATEWAY_OIDC_TRUST_EMAIL": "yes"})
    for name, value in worker_environment(settings).items():
        if name.startswith("GATEWAY_"):
            monkeypatch.setenv(name, value)
    again = Settings(_env_file=None)  # type: ignore[call-arg]
    assert again.model_dump(exclude={"data_dir"}) == settings.model_dump(exclude={"data_dir"})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"GATEWAY_OIDC_AUDIENCE": ""}, "GATEWAY_OIDC_AUDIENCE"),
        ({"GATEWAY_OIDC_ROLES": "{}"}, "GATEWAY_OIDC_ROLES"),
        ({"GATEWAY_OIDC_ROLES": '{"desk": "king"}'}, "oidc_roles"),
        ({"GATEWAY_OIDC_ISSUER": "http://login.example.com"}, "GATEWAY_OIDC_ISSUER"),
        ({"GATEWAY_OIDC_ISSUER": "http://localhost.example.com"}, "GATEWAY_OIDC_ISSUER"),
        ({"GATEWAY_OIDC_ISSUER": "login.example.com"}, "GATEWAY_OIDC_ISSUER"),
        ({"GATEWAY_OIDC_ISSUER": f"{ISSUER}?a=b"}, "GATEWAY_OIDC_ISSUER"),
        ({"GATEWAY_OIDC_ISSUER": "https://user@login.example.com"}, "GATEWAY_OIDC_ISSUER"),
        ({"GATEWAY_OIDC_LEEWAY": "301"}, "oidc_leeway"),
        ({"GATEWAY_OIDC_ALLOW_PRIVATE": "everything"}, "GATEWAY_OIDC_ALLOW_PRIVATE"),
        ({"GATEWAY_RATE_LIMIT": "-1"}, "rate_limit"),
    ],
)
def test_what_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        read(monkeypatch, **{**WHOLE, **changes})


def test_without_an_issuer_nothing_is_needed(tmp_path: Path) -> None:
    assert Settings(_env_file=None, data_dir=tmp_path).oidc_issuer is None  # type: ignore[call-arg]


def test_roles_give_scopes_that_exist_and_only_an_administrator_has_admin() -> None:
    assert set(SCOPES) == set(Role)
    assert [role for role in Role if Scope.admin in SCOPES[role]] == [Role.administrator]
    assert [role for role in Role if Scope.replies in SCOPES[role]] == [Role.approver, Role.administrator]
    assert scopes_of(()) == ()
    assert scopes_of(Role) == tuple(Scope)
