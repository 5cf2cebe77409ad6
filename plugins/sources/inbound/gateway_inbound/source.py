"""The source: verifies and reads what a system pushes, and posts replies to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pydantic import BaseModel

from gateway_inbound import replies
from gateway_inbound.config import InboundConfig
from gateway_inbound.events import read
from gateway_schemas.capabilities import SourceCapabilities, TextLimit
from gateway_schemas.errors import GatewayError, Rejected, Unverified
from gateway_schemas.http import call
from gateway_schemas.interaction import Normalised
from gateway_schemas.length import length
from gateway_schemas.plugin import Health, HealthFinding, InstallReport, Setup, Step
from gateway_schemas.reply import Draft, FindResult, Rendered, SendIntent, Sent
from gateway_schemas.signatures import verify_standard
from gateway_schemas.source import Source
from gateway_schemas.webhook import RawDelivery, WebhookRequest, WebhookResponse


class InboundSource(Source[InboundConfig]):
    """One system that has no plugin of its own, connected by Standard Webhooks in both directions.

    What it can do depends on its config, so each instance has capabilities of its own; those of the class promise only
    what holds for every config.
    """

    name = "inbound"
    title = "Any system, by webhook"
    Config = InboundConfig
    capabilities = SourceCapabilities(
        kinds=frozenset({"post", "comment", "review", "direct_message"}),
        identity="account",
        webhook=True,
        reply=True,
        private=True,
        edit=True,
        delete=True,
    )

    def __init__(self, setup: Setup[InboundConfig]) -> None:
        super().__init__(setup)
        if setup.config is not None:
            self.capabilities = self.capabilities_of(setup.config)  # narrower than the class's

    @classmethod
    def capabilities_of(cls, config: InboundConfig) -> SourceCapabilities:
        """What a connection with this config can do."""
        answers = config.reply_url is not None
        limit = TextLimit(limit=config.text_limit, counting=config.text_counting) if config.text_limit else None
        targets = ("comment", "review", "direct_message", "mention")
        return cls.capabilities.model_copy(
            update={
                "reply": answers,
                "private": answers,
                "edit": answers,
                "delete": answers,
                "media": answers and config.reply_files > 0,
                "one_slot": config.one_slot,
                "text": dict.fromkeys(targets, limit) if limit else {},
                "idempotent_send": answers and config.receiver_dedupes,
            }
        )

    @classmethod
    def account_of(cls, config: InboundConfig) -> str | None:
        """The account's name in the config."""
        return config.account

    @classmethod
    def hosts_of(cls, config: InboundConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """The address that replies go to."""
        return (config.reply_url,) if config.reply_url else ()

    @classmethod
    def media_hosts_of(cls, config: InboundConfig, app: BaseModel | None = None) -> tuple[str, ...]:
        """Where the system keeps what people attach."""
        return tuple(config.media_hosts)

    def verify(self, request: WebhookRequest) -> WebhookResponse | None:
        """Standard Webhooks 1.0.0, symmetric: any of the secrets, and a time within the tolerance of the arrival."""
        if request.method != "POST":
            raise Unverified(f"{request.method} is not how events are pushed; use POST", code="wrong_method")
        secrets = [secret.get_secret_value() for secret in self.config.signing_secrets]
        tolerance = timedelta(seconds=self.config.tolerance)
        verify_standard(request.header, request.body, secrets, request.received_at, tolerance)
        return None

    def normalise(self, delivery: RawDelivery) -> Sequence[Normalised]:
        """One event, or the events of a batch in their order.

        An event of a batch that cannot be read becomes `Unreadable` with the field and the mend, beside the others.
        Raises
        Malformed when no event can be read; the sender has had its 2xx, so the reason is for the deliveries' list.
        """
        return read(delivery.body, self.config)

    def render(self, draft: Draft) -> Rendered:
        """The `data` of the reply's webhook. Files cannot be sent; too long a text is measured, not cut."""
        if self.config.reply_url is None:
            raise Rejected(
                f"{self.config.system} cannot be answered: its connection has no reply_url", code="no_replies"
            )
        if draft.target.kind == "direct_message" and draft.visibility != "private":
            raise Rejected("a direct message is private", code="wrong_visibility", field="visibility")
        if not draft.text.strip() and not draft.files:
            raise Rejected("the reply is empty", code="empty", field="text")
        weight = sum(file.size for file in draft.files)
        if draft.files and self.config.reply_files == 0:
            raise Rejected(f"{self.config.system} takes no files with a reply", code="no_media", field="files")
        if weight > self.config.reply_files:
            reason = f"the files have {weight} bytes; {self.config.system} takes {self.config.reply_files}"
            raise Rejected(reason, code="files_too_large", field="files")
        return Rendered(
            text=draft.text,
            account=draft.account,
            target=draft.target,
            visibility=draft.visibility,
            files=draft.files,
            body=replies.data_of(draft),
            written_at=draft.written_at,
            length=length(draft.text, self.config.text_counting),
            limit=self.config.text_limit,
            counting=self.config.text_counting,
        )

    async def send(self, rendered: Rendered, key: str) -> Sent:
        """Post `reply.created` with the key as its webhook-id.

        Standard Webhooks makes the receiver take a repeated webhook-id for the same message. So where the outcome is
        unknown (5xx, a lost connection, a time-out) the same key may be sent again, and `idempotent_send` is claimed,
        unless the config says that this receiver does not dedupe.

        A 2xx is acceptance; its JSON may name the reply's `external_id` and `url`, else the webhook-id is its id. 409
        counts as accepted when it names the `external_id` that the webhook-id got before; without one it may also mean
        that the thread is locked, so a person looks (Hold). 401 is Reauthorise: the secrets differ. 404, 410, other 4xx
        and a redirect to another address are Rejected.
        """
        config, now = self.config, self.setup.time.now()
        files = [replies.file_of(file, await self.files.read(file.sha256)) for file in rendered.files]
        return await replies.create(self.http, config, rendered, key, now, files)

    async def find(self, intent: SendIntent) -> FindResult:
        """Always Rejected: there is no question to ask that has no effect.

        Standard Webhooks knows no look-up, and posting the same webhook-id again *is* sending it, also while outbound
        is stopped or the reply has become stale. Where the receiver dedupes, the host sends again under the same key
        when sending is allowed (`idempotent_send`); where it does not, a person is asked. Absent is never answered:
        nobody was asked, and a host that believed it could let an agent write the same answer twice.
        """
        raise Rejected(
            f"{self.config.system} cannot be asked what it received; look there for the reply", code="no_find"
        )

    async def amend(self, sent: Sent, rendered: Rendered) -> Sent:
        """Post `reply.updated` with the whole new reply. Doing it twice changes nothing, so doubt is Retry."""
        await replies.change(
            self.http,
            self.config,
            "reply.updated",
            {**rendered.body, "external_id": sent.external_id},
            self.setup.time.now(),
        )
        return sent

    async def retract(self, sent: Sent) -> None:
        """Post `reply.deleted`. Doing it twice changes nothing, so doubt is Retry."""
        data = {"external_id": sent.external_id, "account": self.config.account}
        await replies.change(self.http, self.config, "reply.deleted", data, self.setup.time.now())

    async def install(self, *, dry_run: bool) -> InstallReport:
        """Nothing can be set up from here; says what to enter in the other system."""
        door = self.setup.door or "the connection's door, /hooks/<connection id>"
        steps = [
            Step(
                action="ask",
                what=f"webhook in {self.config.system}",
                detail=f"POST events to {door}, signed with the signing secret of this connection.",
            )
        ]
        if self.config.reply_url:
            steps.append(
                Step(
                    action="ask",
                    what=f"receiver in {self.config.system}",
                    detail=f"Take replies at {self.config.reply_url} and check them with the reply secret.",
                )
            )
        return InstallReport(steps=tuple(steps))

    async def check(self) -> Health:
        """Whether replies have somewhere to go: asks with OPTIONS, which has no effect; only a reply proves more."""
        config = self.config
        if config.reply_url is None:
            finding = HealthFinding(
                severity="info",
                code="no_reply_url",
                message=f"{config.system} can be read and not answered.",
                mend="Set reply_url and reply_secret if agents shall answer.",
            )
            return Health(ok=True, findings=(finding,))
        findings: list[HealthFinding] = []
        if not config.receiver_dedupes:
            findings.append(
                HealthFinding(
                    severity="info",
                    code="receiver_does_not_dedupe",
                    message="A reply whose answer is lost is not sent again; a person is asked.",
                    mend="Let the receiver keep the webhook-ids it took, and set receiver_dedupes.",
                )
            )
        try:
            answer = await call(
                self.http,
                "OPTIONS",
                config.reply_url,
                effect=False,
                now=self.setup.time.now(),
                expected=range(100, 600),
                label="reply_url",
            )
        except GatewayError as error:
            findings.append(
                HealthFinding(
                    severity="error",
                    code="reply_url_unreachable",
                    message=error.reason,
                    mend="Check the address, the other system and the firewall between.",
                )
            )
            return Health(ok=False, findings=tuple(findings))
        if answer.status_code >= 500 or answer.status_code in (404, 410):
            # many a receiver answers 404 or 405 to OPTIONS and takes POST all the same
            findings.append(
                HealthFinding(
                    severity="warning",
                    code="reply_url_answers_oddly",
                    message=f"reply_url answers {answer.status_code} to OPTIONS.",
                    mend="Where replies fail too, check the address and the other system.",
                )
            )
        return Health(ok=True, findings=tuple(findings))
