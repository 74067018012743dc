"""Why a layer differs: replay, hypotheses, steps, blame."""
