"""A folder to begin a reproduction in: a config, stubs, and what is still to be filled in."""
