"""The HTTP face of the platform: a client of the services, over signed gRPC."""
