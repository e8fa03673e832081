"""Executing one run behind its walls: backends, the supervisor inside, and the limits around."""
