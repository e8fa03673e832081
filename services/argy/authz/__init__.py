"""Decisions over gRPC: who may do what, and who holds which role."""
