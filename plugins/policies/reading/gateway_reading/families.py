"""The families of signals, in the order they are asked: a module each, a file in each pack, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from gateway_reading import contact, customer, promises, steps, tone, trade
from gateway_reading.prepared import Prepared
from gateway_schemas.reading import Mark, Promised

Marks = Callable[[Prepared], list[Mark]]
"""Notices signals in a text; pure, and linear in its length."""
Promises = Callable[[Prepared, datetime, str], list[Promised]]
"""Finds commitments; told when the text is said and in which time zone days are counted."""

MARKS: tuple[Marks, ...] = (
    trade.marks,
    tone.marks,
    contact.marks,
    steps.marks,
    promises.marks,
    customer.marks,
)
PROMISES: tuple[Promises, ...] = (promises.promises,)
