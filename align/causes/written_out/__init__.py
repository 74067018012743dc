"""Functions of Paddle that compute otherwise than torch's of the same name, as torch computes."""
