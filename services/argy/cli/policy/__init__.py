"""``argy policy``: what authors and approvers of policies do from a terminal."""
