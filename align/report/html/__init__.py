"""One page for a run: HTML that needs no network and no other file."""
