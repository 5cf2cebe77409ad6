"""How a long-lived process looks for garbage: seldom, and not among what stays."""

from __future__ import annotations

import gc

YOUNG = 20_000
"""Objects made since the last look before the youngest are looked through: a batch makes thousands that soon go by
themselves."""


def keep() -> None:
    """Called once a process has loaded what it works with: that is not looked through any more.

    Tried with the default: looking through everything, again and again, took a third of a drain's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)
