"""What a config names, ours or the user's own, made for one framework."""
