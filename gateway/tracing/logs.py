"""Log lines: for people, or one JSON object each (GATEWAY_LOG_FORMAT=json), with whom the work was done for, and
without secrets."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from uuid import UUID

from gateway.security.redaction import redacted
from gateway.settings import Settings

_subject: ContextVar[Mapping[str, str]] = ContextVar("log_subject", default={})  # noqa: B039 (never changed in place)


@contextlib.contextmanager
def about(*, trace: UUID | str | None = None, drain: str | None = None) -> Iterator[None]:
    """Lines logged within say so, in tasks begun within, too.

    `trace` is an interaction's id or a request's trace id and becomes `trace_id`, 32 hexadecimal digits; `drain` is the
    name of the work.
    """
    given = {"trace_id": str(trace).replace("-", "") if trace else None, "drain": drain}
    token = _subject.set({**_subject.get(), **{name: value for name, value in given.items() if value}})
    try:
        yield
    finally:
        _subject.reset(token)


def subject() -> Mapping[str, str]:
    """`trace_id` and `drain`, as far as they are known here."""
    return _subject.get()


class JsonLines(logging.Formatter):
    """One object a line: `at`, `level`, `logger`, `message`, and `trace_id`, `drain` and `error` where there are."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redacted(record.getMessage()),
            "pid": record.process,
            **subject(),
        }
        if record.exc_info:
            line["error"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


class TextLines(logging.Formatter):
    """The time, the level, the logger, the message, and in brackets whom it was for."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line with its traceback, without secrets: libraries and plugins log in words of their own."""
        return redacted(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without its traceback."""
        whom = " ".join(f"{name}={value}" for name, value in subject().items())
        return super().formatMessage(record) + (f" [{whom}]" if whom else "")


def set_up(settings: Settings) -> None:
    """Where log lines go (standard error) and how they look. Called once, by the command line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if settings.log_format == "json" else TextLines())
    logging.basicConfig(level=settings.log_level, handlers=[handler])
    for chatty in ("procrastinate", "alembic", "httpx2", "httpcore2"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))
