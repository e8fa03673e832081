"""The pages that people see: sign-in, passkeys, sessions, tokens, devices."""

from argy.edge.pages.front import error_page
from argy.edge.pages.routes import routes
from argy.edge.pages.views import Views

__all__ = ["Views", "error_page", "routes"]
