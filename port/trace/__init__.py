"""A class that stays unportable, from the graphs that torch.export makes of its instances."""
