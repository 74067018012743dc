"""Which layer and tensor stands for which, and what both hold at rest."""
