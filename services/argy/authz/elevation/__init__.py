"""Roles for a while: just in time, or by breaking the glass."""
