"""Links by mail: to sign in, to recover, and as invitations."""
