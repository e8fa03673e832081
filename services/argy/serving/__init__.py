"""What a server process is made of, and how a service area enters it."""
