"""The rungs of training: forced steps of both optimizers."""
