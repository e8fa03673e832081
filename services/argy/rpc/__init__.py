"""Signed gRPC: the chain of checks around each handler, and the channel that signs."""
