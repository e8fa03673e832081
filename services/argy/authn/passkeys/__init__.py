"""Passkeys (WebAuthn Level 3): registering them, signing in with them, and a person's own."""
