"""Images and labels as arrays: transforms, and the augmentations of recipes."""
