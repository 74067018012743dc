"""Both nets compute the same."""
