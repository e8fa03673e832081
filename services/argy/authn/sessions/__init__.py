"""Sessions of browsers and terminals: in Redis, with limits, each of which can be ended."""
