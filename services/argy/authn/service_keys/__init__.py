"""Keys with which services sign, made and ended by a tenant."""
