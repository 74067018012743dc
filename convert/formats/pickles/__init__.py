"""Pickles as data: read by a machine that runs nothing, written opcode by opcode."""
