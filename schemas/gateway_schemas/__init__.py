"""The contract between the helpdesk integration gateway and its plugins."""

from gateway_schemas.hookspecs import hookimpl

__all__ = ["hookimpl"]
