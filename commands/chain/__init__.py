"""The whole way of a recipe on eight images: train, evaluate, export, predict."""
