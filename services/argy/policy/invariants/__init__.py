"""What a policy's authors declared must always hold."""
