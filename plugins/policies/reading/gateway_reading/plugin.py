"""What the gateway registers: one reader."""

from __future__ import annotations

from gateway_reading.reader import PackReader
from gateway_schemas import hookimpl
from gateway_schemas.reading import Reader


@hookimpl
def register_readers() -> list[type[Reader]]:
    """The reader of language packs."""
    return [PackReader]
