"""Tells people that something waits for them."""
