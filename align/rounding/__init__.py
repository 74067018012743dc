"""How far rounding moves each tensor."""
