"""The rung of metrics: the user's batches, made ones that show edges, and causes."""
