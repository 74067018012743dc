"""Options and flow of the alignment commands; `rungs.py` is the table of all rungs."""
