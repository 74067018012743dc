"""Data sets as they lie on disk, one a file; `common.settings.data.DATASETS` lists them."""
