"""What a tensor is called here and there. Imports nothing of the other rooms of `convert`."""
