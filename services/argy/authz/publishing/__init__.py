"""How a policy comes in force: proposed, reviewed, approved, activated, followed."""
