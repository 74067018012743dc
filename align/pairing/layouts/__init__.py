"""How matrices are held where the kind of a layer alone does not say it."""
