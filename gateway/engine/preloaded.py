"""Imported once in the server that the sandbox's children are forked from: what they all need is there when they begin.

Reading a text takes the words of every language, which take a second to load; a child that was killed is replaced while
others wait for it. Children share the memory of what is loaded here.
"""

from __future__ import annotations

import gc

from gateway.engine import child
from gateway.engine.judge import Bench
from gateway.registry import Registry

__all__ = ["child"]

gc.disable()  # a million small things come, and none goes
Bench.of(Registry.load()).warm()
gc.freeze()
gc.enable()
