"""The twin's other endpoints: users, jobs, webhooks, triggers, ticket fields and uploads."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gateway_zendesk.twin_http import Answer, Call, page, route
from gateway_zendesk.twin_jobs import create_work
from gateway_zendesk.twin_model import ApiError, User, invalid, not_found

if TYPE_CHECKING:
    from gateway_zendesk.twin import ZendeskTwin


class AdminEndpoints:
    """What an integration needs beside tickets. Webhooks, triggers and fields are for admins."""

    def __init__(self, twin: ZendeskTwin) -> None:
        self.twin = twin

    def routes(self) -> list[Route]:
        """In the order that paths are tried."""
        twin, api = self.twin, "/api/v2"
        return [
            route(twin, "GET", f"{api}/users/me", self.me),
            route(twin, "POST", f"{api}/users/create_or_update", self.create_or_update, bucket="users-create"),
            route(twin, "POST", f"{api}/users/create_or_update_many", self.create_or_update_many),
            route(twin, "GET", f"{api}/users/show_many", self.show_users),
            route(twin, "GET", f"{api}/users/search", self.search_users),
            route(twin, "GET", f"{api}/users/{{id}}", self.show_user),
            route(twin, "GET", f"{api}/job_statuses", self.list_jobs),
            route(twin, "GET", f"{api}/job_statuses/show_many", self.show_jobs),
            route(twin, "GET", f"{api}/job_statuses/{{id}}", self.show_job),
            route(twin, "POST", f"{api}/webhooks", self.create_webhook),
            route(twin, "GET", f"{api}/webhooks", self.list_webhooks),
            route(twin, "GET", f"{api}/webhooks/{{id}}/signing_secret", self.secret),
            route(twin, "POST", f"{api}/webhooks/{{id}}/signing_secret", self.reset_secret),
            route(twin, "GET", f"{api}/webhooks/{{id}}", self.show_webhook),
            route(twin, "PUT", f"{api}/webhooks/{{id}}", self.replace_webhook),
            route(twin, "PATCH", f"{api}/webhooks/{{id}}", self.patch_webhook),
            route(twin, "DELETE", f"{api}/webhooks/{{id}}", self.delete_webhook),
            route(twin, "POST", f"{api}/triggers", self.create_trigger),
            route(twin, "GET", f"{api}/triggers", self.list_triggers),
            route(twin, "GET", f"{api}/triggers/{{id}}", self.show_trigger),
            route(twin, "PUT", f"{api}/triggers/{{id}}", self.update_trigger),
            route(twin, "DELETE", f"{api}/triggers/{{id}}", self.delete_trigger),
            route(twin, "GET", f"{api}/ticket_fields", self.list_fields),
            route(twin, "POST", f"{api}/ticket_fields", self.create_field),
            route(twin, "POST", f"{api}/uploads", self.upload),
        ]

    def _admin(self, call: Call) -> None:
        if call.user.role != "admin":
            raise ApiError(403, {"error": {"title": "Forbidden", "message": "You do not have access to this page."}})

    # users

    def me(self, call: Call) -> Answer:
        return Answer({"user": call.user.json(self.twin.url)})

    def create_or_update(self, call: Call) -> Answer:
        data = call.wrapped("user")
        known = self.twin.desk.people.by_external(str(data.get("external_id", "")))
        if known is not None:
            self.twin.limits.take("user", str(known.id), hidden=True)
        user, created = self.twin.desk.people.create_or_update(data)
        headers = {"Location": f"{self.twin.url}/api/v2/users/{user.id}.json"}
        return Answer({"user": user.json(self.twin.url)}, 201 if created else 200, headers)

    def create_or_update_many(self, call: Call) -> Answer:
        """As a job, where Zendesk has enabled it for the account."""
        if not self.twin.bulk_users:
            raise ApiError(403, {"error": {"title": "Forbidden", "message": "You do not have access to this page."}})
        people = self.twin.desk.people
        items = [one for one in call.body.get("users") or [] if isinstance(one, dict)]
        job = self.twin.jobs.start(
            "Bulk Create or Update User",
            items,
            create_work(lambda item, _: people.create_or_update(item)[0].id, call.user),
        )
        return Answer({"job_status": job.json(self.twin.url)}, 200, self.twin.jobs.headers())

    def show_users(self, call: Call) -> Answer:
        people = self.twin.desk.people
        found: list[User | None] = [people.all.get(int(one)) for one in call.ids() if one.isdigit()]
        found += [people.by_external(one) for one in call.ids("external_ids")]
        there = [user.json(self.twin.url) for user in found if user is not None]
        return Answer({"users": there, "count": len(there), "next_page": None, "previous_page": None})

    def search_users(self, call: Call) -> Answer:
        user = self.twin.desk.people.by_external(call.query("external_id") or "")
        there = [user.json(self.twin.url)] if user else []
        return Answer({"users": there, "count": len(there), "next_page": None, "previous_page": None})

    def show_user(self, call: Call) -> Answer:
        user = self.twin.desk.people.all.get(call.number("id"))
        if user is None:
            raise not_found()
        return Answer({"user": user.json(self.twin.url)})

    # jobs

    def list_jobs(self, call: Call) -> Answer:
        jobs = list(self.twin.jobs.all.values())[-100:]
        return Answer(page(call, "job_statuses", jobs, lambda job: job.json(self.twin.url)))

    def show_jobs(self, call: Call) -> Answer:
        jobs = [self.twin.jobs.all[one] for one in call.ids() if one in self.twin.jobs.all]
        return Answer({"job_statuses": [job.json(self.twin.url) for job in jobs]})

    def show_job(self, call: Call) -> Answer:
        job = self.twin.jobs.all.get(call.text("id"))
        if job is None:
            raise not_found()
        return Answer({"job_status": job.json(self.twin.url)})

    # webhooks

    def create_webhook(self, call: Call) -> Answer:
        self._admin(call)
        return Answer({"webhook": self.twin.rules.create_webhook(call.wrapped("webhook")).json()}, 201)

    def list_webhooks(self, call: Call) -> Answer:
        self._admin(call)
        part = call.query("filter[name_contains]") or ""
        found = [one for one in self.twin.rules.webhooks.values() if part in str(one.data["name"])]
        return Answer(page(call, "webhooks", found, lambda webhook: webhook.json()))

    def show_webhook(self, call: Call) -> Answer:
        self._admin(call)
        return Answer({"webhook": self.twin.rules.webhook(call.text("id")).json()})

    def replace_webhook(self, call: Call) -> Answer:
        self._admin(call)
        self.twin.rules.update_webhook(call.text("id"), call.wrapped("webhook"), replace=True)
        return Answer(None, 204)

    def patch_webhook(self, call: Call) -> Answer:
        self._admin(call)
        self.twin.rules.update_webhook(call.text("id"), call.wrapped("webhook"), replace=False)
        return Answer(None, 204)

    def delete_webhook(self, call: Call) -> Answer:
        self._admin(call)
        webhook = self.twin.rules.webhook(call.text("id"))
        del self.twin.rules.webhooks[webhook.id]
        return Answer(None, 204)

    def secret(self, call: Call) -> Answer:
        self._admin(call)
        secret = self.twin.rules.webhook(call.text("id")).secret
        return Answer({"signing_secret": {"algorithm": "SHA256", "secret": secret}})

    def reset_secret(self, call: Call) -> Answer:
        self._admin(call)
        webhook = self.twin.rules.webhook(call.text("id"))
        webhook.secret = uuid.uuid4().hex
        return Answer({"signing_secret": {"algorithm": "SHA256", "secret": webhook.secret}}, 201)

    # triggers and fields

    def create_trigger(self, call: Call) -> Answer:
        self._admin(call)
        return Answer({"trigger": self.twin.rules.save_trigger(call.wrapped("trigger"))}, 201)

    def list_triggers(self, call: Call) -> Answer:
        return Answer(page(call, "triggers", list(self.twin.rules.triggers.values()), dict))

    def show_trigger(self, call: Call) -> Answer:
        return Answer({"trigger": self.twin.rules.trigger(call.number("id"))})

    def update_trigger(self, call: Call) -> Answer:
        self._admin(call)
        kept = self.twin.rules.trigger(call.number("id"))
        return Answer({"trigger": self.twin.rules.save_trigger({**kept, **call.wrapped("trigger")}, kept["id"])})

    def delete_trigger(self, call: Call) -> Answer:
        self._admin(call)
        del self.twin.rules.triggers[self.twin.rules.trigger(call.number("id"))["id"]]
        return Answer(None, 204)

    def list_fields(self, call: Call) -> Answer:
        return Answer(page(call, "ticket_fields", list(self.twin.desk.fields.values()), dict))

    def create_field(self, call: Call) -> Answer:
        self._admin(call)
        data = call.wrapped("ticket_field")
        if not data.get("title") or not data.get("type"):
            raise invalid("title", "Title: cannot be blank", "BlankValue")
        field: dict[str, Any] = {"active": True, **data, "id": self.twin.desk.new_id()}
        self.twin.desk.fields[field["id"]] = field
        return Answer({"ticket_field": field}, 201)

    def upload(self, call: Call) -> Answer:
        """Raw bytes; a token given again collects several files."""
        name = call.query("filename")
        if not name:
            raise ApiError(400, {"error": "BadRequest", "description": "filename is required"})
        media_type = call.request.headers.get("content-type", "application/octet-stream")
        attachment = self.twin.desk.keep_file(name, call.raw, media_type)
        token = call.query("token") or uuid.uuid4().hex
        self.twin.desk.uploads.setdefault(token, []).append(attachment)
        return Answer({"upload": {"token": token, "attachment": attachment, "expires_at": None}}, 201)
