"""Tenants, organizations, users and groups."""
