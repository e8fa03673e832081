"""Mail that sign-in sends: what it says, and a sealed queue until it is delivered."""
