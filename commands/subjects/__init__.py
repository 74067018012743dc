"""What commands are run on: rows of the table, anybody's callables, inputs."""
