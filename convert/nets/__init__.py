"""What tensors a net has, and which net a file holds: names and shapes, never values."""
