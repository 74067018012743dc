"""Modules of the user: by which name they are meant, and beside ours of the same name."""
