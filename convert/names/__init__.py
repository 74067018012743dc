"""What a tensor is called here and there."""
