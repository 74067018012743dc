"""Makes the files of a trained net: folds, traces, writes, and proves that they compute it."""
