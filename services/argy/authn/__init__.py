"""The authentication service: passkeys, links, sessions, tokens, devices, credentials."""
