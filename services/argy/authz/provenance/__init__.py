"""Where power comes from: who counts as somebody else than whoever asks."""
