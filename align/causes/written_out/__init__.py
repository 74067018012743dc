"""Functions of Paddle that compute otherwise than torch's of the same name, as torch computes."""

# Causes that say so. They hold wherever the two codes part: the port's function is no slip of it.
OTHERWISE = (
    *("weighs_samples", "softmax_stops", "huber", "median_of_two", "resized_to_one"),
    "pads_first_axis_first",
)
