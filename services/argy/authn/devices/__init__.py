"""The device flow (RFC 8628): how terminals and agents are let in."""
