"""What a change of policy means: for roles, for real people, for past decisions."""
