"""Approvals of single actions: requested, voted on, redeemed."""
