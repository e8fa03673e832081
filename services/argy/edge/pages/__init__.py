"""The pages that people see: sign-in, passkeys, sessions, tokens, devices."""

from argy.edge.pages.routes import routes

__all__ = ["routes"]
