"""What a person is told on their other devices: that something about their sign-in changed."""
