"""Layers that take and return what their partners do not: stock ones, and by the rules."""
