"""The audit log: who changed what, when and from where, in a chain that shows whether it was tampered with.

`entries` says what an entry is and how it is hashed, `changes` what is kept of a change, `log` writes, `verify` checks.
"""

from gateway.security.audit.log import AuditedDatabase, AuditLog, attribute, note, note_all
from gateway.security.audit.origin import Origin, at_the_command_line, by_itself

__all__ = ["AuditLog", "AuditedDatabase", "Origin", "at_the_command_line", "attribute", "by_itself", "note", "note_all"]
