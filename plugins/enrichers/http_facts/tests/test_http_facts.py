"""The question, its signature, and what each answer means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from gateway_http_facts.config import HttpFactsConfig
from gateway_http_facts.enricher import HttpFacts
from gateway_http_facts.twin import HttpFactsTwin
from gateway_schemas.decision import Case
from gateway_schemas.errors import GatewayError, Malformed, Reauthorise, Rejected, Retry
from gateway_schemas.interaction import Author, Interaction
from gateway_schemas.plugin import Setup
from gateway_schemas.testing.twin import Fault
from gateway_schemas.time import SystemTime

NOW = datetime(2026, 3, 12, 10, 15, tzinfo=UTC)
SECRET = "whsec_" + "A" * 43 + "="
CASE = Case(
    now=NOW,
    brand="Acme",
    source="x",
    connection="@AcmeSupport",
    interaction=Interaction(
        external_id="17",
        revision="1",
        account="acme",
        kind="post",
        visibility="public",
        author=Author(external_id="2244994945", handle="rita"),
        text="my parcel is stuck",
        published_at=NOW,
    ),
)


@pytest.fixture
async def twin() -> HttpFactsTwin:
    """The company's system."""
    one = HttpFactsTwin(secret=SECRET)
    one.url = "http://facts.example"
    one.known["2244994945"] = {"tier": "gold", "since": 2019}
    return one


@pytest.fixture
async def http(twin: HttpFactsTwin) -> AsyncIterator[httpx2.AsyncClient]:
    """Requests that the twin answers in this process."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=twin.app)) as client:
        yield client


def enricher(twin: HttpFactsTwin, http: httpx2.AsyncClient, **config: Any) -> HttpFacts:
    """One that asks the twin."""
    model = HttpFactsConfig.model_validate({**twin.config(), **config})
    return HttpFacts(Setup(time=SystemTime(), config=model, http=http))


async def test_the_answer_to_a_signed_question_is_the_facts(twin: HttpFactsTwin, http: httpx2.AsyncClient) -> None:
    assert await enricher(twin, http).enrich(CASE) == {"tier": "gold", "since": 2019}
    assert twin.asked == [
        {
            "brand": "Acme",
            "source": "x",
            "connection": "@AcmeSupport",
            "author": {"external_id": "2244994945", "handle": "rita"},
            "interaction": {"external_id": "17", "kind": "post", "visibility": "public"},
        }
    ]


async def test_the_text_goes_along_only_where_that_is_wanted(twin: HttpFactsTwin, http: httpx2.AsyncClient) -> None:
    await enricher(twin, http, text=True).enrich(CASE)
    assert twin.asked[0]["interaction"]["text"] == "my parcel is stuck"


@pytest.mark.parametrize("status", [204, 404, 410])
async def test_of_strangers_there_are_no_facts(twin: HttpFactsTwin, http: httpx2.AsyncClient, status: int) -> None:
    twin.faults.append(Fault("status_before", status=status))
    assert await enricher(twin, http).enrich(CASE) == {}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("status_before", status=200, body=b"[]"), Malformed),
        (Fault("status_before", status=200, body=b"not JSON"), Malformed),
        (Fault("status_before", status=200), Malformed),
        (Fault("status_before", status=503), Retry),
        (Fault("status_before", status=429, headers={"Retry-After": "3"}), Retry),
        (Fault("status_before", status=400), Rejected),
        (Fault("status_before", status=307, headers={"Location": "http://elsewhere.example"}), Rejected),
    ],
)
async def test_every_other_answer_is_an_error_named_by_recovery(
    twin: HttpFactsTwin, http: httpx2.AsyncClient, fault: Fault, error: type[GatewayError]
) -> None:
    twin.faults.append(fault)
    with pytest.raises(error):
        await enricher(twin, http).enrich(CASE)


async def test_another_secret_is_refused_and_needs_a_person(twin: HttpFactsTwin, http: httpx2.AsyncClient) -> None:
    asking = enricher(twin, http, secret="whsec_" + "B" * 43 + "=")
    with pytest.raises(Reauthorise):
        await asking.enrich(CASE)
    with pytest.raises(Reauthorise):
        await asking.check()
    assert (await enricher(twin, http).check()).ok


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://crm.example"},
        {"url": "https://user:password@crm.example/facts"},
        {"secret": "hunter2"},
        {"secret": "whsec_c2hvcnQ="},
        {"deadline": 0},
        {"deadline": 60},
        {"colour": "red"},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        HttpFactsConfig.model_validate({"url": "https://crm.example/facts", "secret": SECRET, **wrong})
    assert refused.value.errors()[0]["loc"][0] == next(iter(wrong))
    assert "hunter2" not in str(refused.value)


def test_the_secret_is_in_no_representation() -> None:
    assert SECRET not in repr(HttpFactsConfig.model_validate({"url": "https://crm.example/f", "secret": SECRET}))
