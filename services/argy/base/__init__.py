"""What every package may use: errors, clock, identifiers, crypto and configuration."""
