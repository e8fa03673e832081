"""The agent: executes runs in isolation, whatever hands them to it."""
