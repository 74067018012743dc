"""One file per net of the papers; `backbones/` holds what several nets share."""
