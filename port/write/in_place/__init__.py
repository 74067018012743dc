"""Writes into tensors, where Paddle has no method that writes so."""
