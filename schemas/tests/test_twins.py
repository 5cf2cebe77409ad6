"""The base of a twin."""

from __future__ import annotations

from gateway_schemas.testing.twin import Twin, WebhookBuilder


async def test_whoever_carries_a_twins_webhooks_gets_each_once_and_nothing_is_sent() -> None:
    twin, carried = Twin(), list[WebhookBuilder]()
    twin.carrier = carried.append
    twin.webhooks.drop = twin.webhooks.duplicate = 1.0
    for number in range(3):
        body = str(number).encode()
        twin.emit(lambda body=body: ("http://127.0.0.1:9/", {}, body))
    await twin.settle()
    assert [build()[2] for build in carried] == [b"0", b"1", b"2"]
    assert twin.webhook_failures == []
