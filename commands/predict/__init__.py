"""Predicting anybody's photos and videos with a trained net or an exported file."""
