"""The flow of `check_data`: a data set is read whole, and what is wrong with it is told."""
