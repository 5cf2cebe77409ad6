"""An installation made of another one's files does as that one does: a short sample of the demo's evening."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx2

from gateway.configuration.apply import apply, plan_for
from gateway.configuration.documents import read_tree
from gateway.configuration.export import export_to
from gateway.configuration.plan import Bundle
from gateway.configuration.registry import folders
from gateway_x.twin import XTwin
from gateway_zendesk.twin import ZendeskTwin
from support.gateway import LOOPBACK, Gateway, fresh_database, running
from support.rest import KEY

VOUCHERS = {
    "at": "review_reply",
    "when": 'reply.text.contains("voucher")',
    "findings": [{"severity": "hold", "code": "voucher", "message": "Vouchers go by the head of service."}],
}
VIPS = {"when": "interaction.author.handle in lists.vips", "effects": [{"effect": "add_tags", "tags": ["vip"]}]}
CLOCK = {
    "when": "interaction.kind == 'post'",
    "effects": [{"effect": "start_clock", "kind": "first_response", "target": "PT1H", "calendar": "office"}],
}
CODE = re.compile(r"(?<=/approve )[0-9a-f]+|https?://\S+")
"""What names one answer of one installation alone."""
SAID = {"rita": "It is on its way, Rita.", "bob": "A voucher is on its way."}
HOURS = {day: [["00:00", "24:00"]] for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday")}


async def test_by_files_as_by_hand(server_url: str, tmp_path: Path) -> None:
    first = await _spend(server_url, tmp_path, "hand")
    second = await _spend(server_url, tmp_path, "files")
    assert second == first
    assert [(one["text"], one["state"]) for one in first["replies"]] == [
        (SAID["rita"], "sent"),
        (SAID["bob"], "held"),
    ]
    assert {one["calendar"] for one in first["clocks"]} == {"office"}
    assert ["vip" in tags for _, tags, _ in first["tickets"]] == [False, True]


async def _spend(server_url: str, tmp_path: Path, how: str) -> dict[str, Any]:
    x, desk = XTwin(tier="enterprise"), ZendeskTwin()
    desk.limits.off()
    x.add_brand("AcmeSupport")
    for name in SAID:
        x.add_user(name)
    folder = tmp_path / how
    async with (
        fresh_database(server_url) as url,
        x.serve(),
        desk.serve(),
        running(url, folder) as gateway,
        httpx2.AsyncClient(
            base_url=f"{gateway.url}/v1", headers={"Authorization": f"Bearer {KEY}"}, timeout=30, trust_env=False
        ) as http,
    ):
        if how == "hand":
            await _set_up(http, x, desk)
            await export_to(gateway.runtime, tmp_path / "config")
        else:
            await _apply(gateway, x, desk, tmp_path / "config")
        for connection in (await _call(http, "GET", "connections"))["items"]:
            await _call(http, "POST", f"connections/{connection['id']}/install")
        gateway.runtime.policies.forget(gateway.runtime.now())
        return await _play(gateway, x, desk)


async def _call(http: httpx2.AsyncClient, method: str, path: str, **body: Any) -> Any:
    answer = await http.request(method, path, json=body or None)
    assert answer.is_success, answer.text
    return answer.json()


async def _set_up(http: httpx2.AsyncClient, x: XTwin, desk: ZendeskTwin) -> None:
    """As an admin does it over REST."""
    await _call(http, "POST", "brands", name="Acme", timezone="Europe/Berlin")
    config = {"base_url": desk.url, "email": desk.email, "api_token": desk.token, "share": 1.0}
    await _call(http, "POST", "connections", plugin="zendesk", name="Desk", config=config, allow_private=LOOPBACK)
    await _call(http, "POST", "apps", plugin="x", name="X", config=x.app_config(), allow_private=LOOPBACK)
    source: dict[str, Any] = {"plugin": "x", "name": "@acme", "app": "X", "brand": "Acme", "helpdesk": "Desk"}
    await _call(
        http, "POST", "connections", **source, config=x.connection_config("AcmeSupport"), allow_private=LOOPBACK
    )
    await _call(http, "POST", "calendars", name="office", timezone="Europe/Berlin", hours=HOURS)
    await _call(http, "PUT", "lists/vips", entries=["bob"], reason="they called")
    names = ("vouchers", "vips", "clocks")
    for name, params in zip(names, (VOUCHERS, VIPS, CLOCK), strict=True):
        made = await _call(http, "POST", "policies", name=name, type="rule", brand="Acme", params=params)
        await _call(http, "POST", f"policies/{made['id']}/revisions", reason="as agreed")
    await _call(http, "POST", "policies/activate", policies=[{"policy": name} for name in names], reason="now")


async def _apply(gateway: Gateway, x: XTwin, desk: ZendeskTwin, folder: Path) -> None:
    """The same out of the files: only the twins' addresses are others."""
    tree = read_tree(folder, folders())
    addresses = {"zendesk": desk.url, "x": x.url}
    for document in tree.documents:
        config = document.content.get("config", {})
        config.update({"base_url": addresses[document.content["plugin"]]} if "base_url" in config else {})
        config.update({"media_hosts": [x.url]} if "media_hosts" in config else {})
    account = x.connection_config("AcmeSupport")
    secrets = {
        **{"HELPDESK_DESK_API_TOKEN": desk.token, "SOURCE_ACME_ACCESS_TOKEN": account["access_token"]},
        **{"APP_X_CONSUMER_SECRET": x.consumer_secret, "APP_X_BEARER_TOKEN": x.bearer_token},
    }
    bundle = Bundle(tree.documents, secrets)
    plan = await plan_for(gateway.runtime, bundle)
    await apply(gateway.runtime, bundle, digest=plan.digest, reason="as it was", caller=None)


async def _play(gateway: Gateway, x: XTwin, desk: ZendeskTwin) -> dict[str, Any]:
    users = {name: x.state.user(name).id for name in SAID}
    for number, (name, answer) in enumerate(SAID.items(), 1):
        x.post(users[name], f"@AcmeSupport where is it, asks {name}")
        await _settle(gateway, x, desk)
        desk.agent_comment(number, "Ann", answer)
        await _settle(gateway, x, desk)
    select = "SELECT text, state, code, reason, visibility FROM reply ORDER BY created_at"
    clocks = """SELECT k.kind, k.state, k.target, c.name AS calendar FROM clock k
                JOIN calendar c ON c.id = k.calendar_id ORDER BY k.created_at, k.id"""
    return {
        "published": [post.written for post in x.published("AcmeSupport")],
        "replies": [dict(row) for row in await gateway.rows(select)],
        "clocks": [dict(row) for row in await gateway.rows(clocks)],
        "tickets": [
            (ticket.status, sorted(ticket.tags), [CODE.sub("…", comment.body) for comment in ticket.comments])
            for ticket in desk.tickets.values()
        ],
    }


async def _settle(gateway: Gateway, x: XTwin, desk: ZendeskTwin) -> None:
    for _ in range(2):
        await x.settle()
        await gateway.quiet()
        await desk.settle()
        await gateway.quiet()
