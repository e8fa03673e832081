"""What replicas in other processes decide on: the policy, facts and ended tokens, streamed."""
