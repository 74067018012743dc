"""What goes wrong in a training: values that are not finite, and files that cannot be read."""
