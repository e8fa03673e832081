"""The ``argy`` command: run the platform, ask it, change it, and read what happened."""
