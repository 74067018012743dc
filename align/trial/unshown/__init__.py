"""What a run does not show: zeros, weights that hide, functions that these inputs do not reach."""
