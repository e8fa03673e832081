"""Long-lived credentials: personal access tokens, API keys, service keys."""
