"""Postgres with tenant transactions, named queries and migrations; Redis with tenant prefixes."""
