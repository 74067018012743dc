"""Nets that give every pixel a class and an object, one file per net of the papers."""
