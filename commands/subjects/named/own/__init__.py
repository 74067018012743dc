"""What is of the user's own in a config: schedules, data, metrics, optimizers with any slots."""
