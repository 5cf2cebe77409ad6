"""What a collector is told of one message: whole traces, once, though the collector was away or answers got lost."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.tracing.logs import JsonLines, TextLines, about
from gateway.tracing.spans import root_of
from gateway_schemas.testing.twin import Twin
from gateway_schemas.testing.twin_faults import Fault


class Collecting(Twin):
    """Takes OTLP over HTTP. Answers 400 as long as it is `away`, and `forgetful` times once it has kept the spans."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.headers: list[str | None] = []
        self.away = False
        self.forgetful = 0
        super().__init__()

    def routes(self) -> Sequence[BaseRoute]:
        """The one address."""
        return [Route("/v1/traces", self._take, methods=["POST"])]

    async def _take(self, request: Request) -> Response:
        if self.away:
            return Response(status_code=400)
        self.headers.append(request.headers.get("authorization"))
        body = ExportTraceServiceRequest.FromString(await request.body())
        self.spans += [span for one in body.resource_spans for scope in one.scope_spans for span in scope.spans]
        if self.forgetful:
            self.forgetful -= 1
            return Response(status_code=400)
        return Response(ExportTraceServiceResponse().SerializeToString(), media_type="application/x-protobuf")

    def of(self, interaction: UUID) -> list[Any]:
        """The spans of one message's trace."""
        return [span for span in self.spans if span.trace_id == interaction.bytes]


async def test_a_message_and_its_answer_are_one_trace(make_line: Any) -> None:
    collector = Collecting()
    async with (
        collector.serve() as url,
        make_line(traces_url=f"{url}/v1/traces", traces_headers="authorization=Bearer abc") as line,
    ):
        busy = {"status": 429, "headers": {"Retry-After": "1"}, "body": b"{}"}
        line.desk.faults.append(Fault("status_before", path="/api/v2/tickets(.json)?$", method="POST", **busy))
        line.x.post("rita", "@AcmeSupport my parcel is lost")

        async def there() -> bool:
            return 1 in line.desk.tickets

        await line.gateway.until(there, "the ticket is made once the helpdesk takes it")
        await line.answer(1, "We are looking into it")
        await line.until("sent")
        [row] = await line.gateway.rows("SELECT id FROM interaction WHERE direction = 'inbound'")

        async def told() -> bool:
            return {"message", "answer"} <= {span.name for span in collector.of(row["id"])}

        await line.gateway.until(told, "the collector knows the message and its answer")
        spans = collector.of(row["id"])
        names = [span.name for span in spans]
        assert names.count("message") == names.count("answer") == names.count("read") == 1
        assert names.count("push zendesk") >= 2, "the try that failed, and the one that did not"
        assert {"thread and decide", "tell zendesk", "decide", "send x"} <= set(names)
        by_id = {span.span_id: span for span in spans}
        assert len(by_id) == len(spans)
        [root] = [span for span in spans if not span.parent_span_id]
        assert (root.name, root.span_id) == ("message", root_of(row["id"]).to_bytes(8))
        assert all(span.parent_span_id in by_id for span in spans if span is not root)
        assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)
        failed = [span for span in spans if span.status.code == 2]
        assert [span.name for span in failed] == ["push zendesk"]
        assert set(collector.headers) == {"Bearer abc"}
        said = " ".join(str(span) for span in spans)
        assert [word for word in ("rita", "parcel") if word in said] == [], "traces hold no words and no names"


@pytest.mark.torture
async def test_what_a_collector_did_not_take_is_told_later_under_the_same_identifiers(make_line: Any) -> None:
    collector = Collecting()
    async with collector.serve() as url, make_line(traces_url=f"{url}/v1/traces") as line:
        collector.away = True
        line.x.post("rita", "@AcmeSupport my parcel is lost")
        await line.settle()
        await asyncio.sleep(6)
        assert collector.spans == []
        collector.forgetful, collector.away = 1, False

        async def told() -> bool:
            return [span.name for span in collector.spans].count("message") == 2

        await line.gateway.until(told, "it is told twice, since the first answer was lost")
        first, second = [span for span in collector.spans if span.name == "message"]
        assert (first.trace_id, first.span_id) == (second.trace_id, second.span_id)


@pytest.mark.parametrize("form", [JsonLines(), TextLines()])
def test_lines_say_for_whom_work_was_done(form: logging.Formatter) -> None:
    record = logging.LogRecord("gateway.x", logging.WARNING, "x.py", 1, "it %s", ("broke",), None)
    id = UUID("01a22aad-a61a-729e-93e3-dbb3445d658a")
    with about(drain="send:1"), about(trace=id):
        line = form.format(record)
    assert [word for word in (id.hex, "send:1", "it broke") if word not in line] == []
    assert id.hex not in form.format(record), "not afterwards"
    if isinstance(form, JsonLines):
        said = json.loads(line)
        assert (said["level"], said["trace_id"], said["drain"]) == ("WARNING", id.hex, "send:1")
        try:
            raise ValueError("two\nlines")
        except ValueError:
            import sys

            record.exc_info = sys.exc_info()
        assert "\n" not in form.format(record)


async def test_requests_have_a_trace_that_their_caller_may_name(line: Any) -> None:
    given = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with line.rest() as http:
        answer = await http.get("/v1/brands", headers={"traceparent": f"00-{given}-00f067aa0ba902b7-01"})
        assert answer.headers["trace-id"] == given
        for wrong in ("", "nonsense", f"00-{'0' * 32}-00f067aa0ba902b7-01"):
            answer = await http.get("/v1/brands", headers={"traceparent": wrong})
            assert answer.headers["trace-id"] not in ("", given, "0" * 32)
