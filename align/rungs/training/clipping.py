"""How gradients were clipped in an update: told by what they were before and after it."""

from collections.abc import Mapping

import numpy as np

from align.judge.relations import factor_of
from align.judge.words import Cause, Words

Gradients = Mapping[str, np.ndarray]  # by the port's key, in the port's layout
# torch's clip_grad_norm_ divides by the norm and this, Paddle's ClipGradByGlobalNorm by the norm.
EPSILON = 1e-6
# Factors are equal to this, relative; norms that limit them to the second.
PRECISION, NORMS = 1e-11, 1e-4


def factors(before: Gradients, after: Gradients) -> dict[str, float]:
    """Return by what each gradient was multiplied: NaN for another change.

    Those that are zero, or not known after it, are left out.
    """
    found = {}
    for key, gradient in before.items():
        changed = after.get(key)
        if changed is None or changed.shape != gradient.shape or not gradient.any():
            continue
        factor = factor_of(changed, gradient, 1e-12 * float(np.abs(gradient).max()))
        found[key] = float("nan") if factor is None else factor
    return found


def torchs_factor(norm: float, limit: float) -> float:
    """Return what torch multiplies gradients of this norm with."""
    return min(1.0, limit / (norm + EPSILON))


def is_torchs(found: list[float], norm: float, limit: float) -> bool:
    """Tell whether the factors `found` are torch's for gradients of this norm."""
    expected = torchs_factor(norm, limit)
    return bool(found) and all(abs(each - expected) <= PRECISION * expected for each in found)


def norm_of(gradients: Gradients) -> float:
    """Return the norm of all gradients together."""
    return float(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients.values()) ** 0.5)


def cause_of(
    before: Gradients, theirs: Gradients, ours: Gradients, port_clips: bool
) -> Cause | None:
    """Say how the port clips gradients and how the reference does; None for what is no clipping.

    Where nobody is known to clip (`port_clips`: its optimizer holds a clip), one factor of all
    gradients is a factor: micro-batches that were averaged twice look like it.
    """
    port, reference = in_words(before, ours), in_words(before, theirs)
    if port is None or reference is None:
        return None
    if reference.kind == "clip_nothing" and port.kind == "clip_together" and not port_clips:
        return None
    cause = Cause("clipped", port=port, reference=reference)
    if reference.kind == "clip_together" and port.kind in ("clip_apart", "clip_otherwise"):
        return cause.also(Cause("clip_together_how"))
    return cause


def in_words(before: Gradients, after: Gradients) -> Words | None:
    """Say how gradients were clipped, None where that is not what was done to them."""
    found = factors(before, after)
    known = np.array(list(found.values()))
    if not np.isfinite(known).all():
        return _by_value(before, after)
    if (np.abs(known - 1.0) <= PRECISION).all():
        return Words("clip_nothing")
    if (known > 1.0 + PRECISION).any() or (known < 0.0).any():
        return None
    if np.ptp(known) <= PRECISION:
        return Words("clip_together", norm=known[0] * norm_of(before))
    cut = [(f * norm_of({key: before[key]})) for key, f in found.items() if f < 1.0 - PRECISION]
    if cut and np.ptp(cut) <= NORMS * max(cut):
        return Words("clip_apart", norm=cut[0])
    return Words("clip_otherwise")


def _by_value(before: Gradients, after: Gradients) -> Words | None:
    known = [key for key in before if key in after and after[key].shape == before[key].shape]
    top = max(float(np.abs(after[key]).max(initial=0.0)) for key in known)
    if all(np.allclose(after[k], np.clip(before[k], -top, top), 0, 1e-9 * top) for k in known):
        return Words("clip_values", value=top)
    return None
