"""How people of a tenant may sign in."""
