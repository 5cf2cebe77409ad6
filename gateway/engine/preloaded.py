"""Imported once in the server that the sandbox's children are forked from: what they all need is there when they begin.

Reading a text takes the words of every language, which take a second to load; a child that was killed is replaced while
others wait for it. Children share the memory of what is loaded here.
"""

from __future__ import annotations

import gc
import logging

from gateway.engine import child
from gateway.engine.judge import Bench
from gateway.registry import Registry

__all__ = ["child"]

try:
    Bench.of(Registry.load()).reader.prepare()
except Exception:  # a reader's bug, recorded where the reader is asked
    logging.getLogger(__name__).warning("The readers could not be prepared.", exc_info=True)
gc.freeze()
