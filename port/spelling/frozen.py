"""Layers whose gradient is another in Paddle where their weight is frozen."""

import re
from collections.abc import Set
from dataclasses import replace

from port.calls import Spelled
from port.spelling.names import imports_of, names_of

# torch's name, Paddle's, and the helper that stands for it
_INSTEAD = (
    ("torch.nn.LayerNorm", "nn.LayerNorm", "FreezableLayerNorm"),
    ("torch.nn.functional.layer_norm", "F.layer_norm", "freezable_layer_norm"),
)


def of_frozen(spelled: Spelled, frozen: Set[str]) -> Spelled:
    """Return a spelling whose gradient is right in a net with `frozen` (`Record.frozen`)."""
    for api, theirs, ours in _INSTEAD:
        text = re.sub(rf"(?<![\w.]){re.escape(theirs)}\b", ours, spelled.text)
        if api in frozen and text != spelled.text:
            unused = imports_of({theirs.partition(".")[0]}) - imports_of(names_of(text))
            helpers = spelled.helpers | {ours}
            spelled = replace(spelled, text=text, imports=spelled.imports - unused, helpers=helpers)
    return spelled
