"""`--propose`: which layer is which, by running both nets, and the rules tried once."""
