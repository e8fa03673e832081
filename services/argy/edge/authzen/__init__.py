"""AuthZEN Authorization API 1.0 (OpenID Foundation, final, January 2026), over HTTPS."""

from argy.edge.authzen.routes import routes

__all__ = ["routes"]
