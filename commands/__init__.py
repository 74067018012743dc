"""Options and flow of every command; `tools/` only calls them."""
