"""Access and refresh tokens: issued, traded, introspected, ended; and the keys that sign them."""
