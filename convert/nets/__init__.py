"""What tensors a net has, and which net a file holds."""
