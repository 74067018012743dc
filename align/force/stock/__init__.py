"""Stock layers of either framework that take and return what the other does not."""
