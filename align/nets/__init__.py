"""What stands around a net: its calls, its modes, the net and its loss as one, progress."""
