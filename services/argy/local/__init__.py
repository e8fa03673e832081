"""The platform on one machine: servers, keys and certificates for development and tests."""
