"""Fixtures that the gateway's own tests share.

The closed network and the clean environment are not here: `support.hermetic` brings them to every test folder.
"""

from __future__ import annotations

# --- the database, running processes, twins: fixtures go below this line ---
