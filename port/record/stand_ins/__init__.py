"""What a reference asks for and this machine has not: a GPU, downloads, operators, old names."""
