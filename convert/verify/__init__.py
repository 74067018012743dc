"""Both nets compute the same: the only room of `convert` that runs nets."""
