"""What functions of torch and their arguments are called in the table of kernels."""

# Orders of a norm that Paddle computes without powers and roots.
EXACT_ORDERS = (None, "fro", "nuc", 0, 1, 2, float("inf"), -float("inf"))

# What torch calls otherwise, and what the arguments of functions are called that do not say so.
NAMES = {
    "linalg_norm": "norm",
    "linalg_vector_norm": "norm",
    "linalg_matrix_norm": "norm",
    "float_power": "pow",
    "special_digamma": "digamma",
    "special_psi": "digamma",
    "special_polygamma": "polygamma",
    "special_logit": "logit",
    "special_sinc": "sinc",
}
ARGUMENTS = {
    "linalg_norm": ("input", "ord"),
    "linalg_vector_norm": ("input", "ord"),
    "linalg_matrix_norm": ("input", "ord"),
    "dist": ("input", "other", "p"),
    "pdist": ("input", "p"),
    "pairwise_distance": ("x1", "x2", "p"),
    "norm": ("input", "p"),
}

# Signs with a number: it is held, and the sum is off by how far that is off.
ADDITIONS = ("add", "sub", "rsub")

# Functions of torch that are norms inside.
NORMS = ("norm", "normalize", "weight_norm", "dist", "cdist", "pdist", "pairwise_distance")
