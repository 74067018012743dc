"""What of a net is frozen: parameters, and the statistics of BatchNorms."""

from collections.abc import Sequence

from torch import nn

from common.errors import ConfigError
from common.param_groups import found_by
from torch_ref.optim import trainable_parameters


class Frozen:
    """A net some of whose parameters and BatchNorms are frozen until `thaw`.

    parameters, statistics: regular expressions that are found in the names of parameters, and of
    BatchNorms. These run on the statistics that they have, in train mode too: `layers` are to be
    put into eval mode after every `net.train()`.

    Raises ConfigError for an expression that finds nothing, and where nothing is left to train.
    """

    def __init__(
        self, net: nn.Module, parameters: Sequence[str], statistics: Sequence[str]
    ) -> None:
        held = trainable_parameters(net, None)
        names = _found(parameters, [*held], "parameters", "parameter")
        if names and len(names) == len(held):
            raise ConfigError("freeze.parameters finds every parameter of the net: none is trained")
        self.parameters = [held[name] for name in names]
        norms = {
            name: module
            for name, module in net.named_modules()
            if getattr(module, "running_mean", None) is not None
        }
        found = _found(statistics, [*norms], "statistics", "BatchNorm with statistics")
        self.layers = [norms[name] for name in found]
        for parameter in self.parameters:
            parameter.requires_grad = False
        self._modes = [layer.training for layer in self.layers]
        for layer in self.layers:
            layer.eval()

    def thaw(self) -> None:
        """Let everything be trained again."""
        for parameter in self.parameters:
            parameter.requires_grad = True
        for layer, training in zip(self.layers, self._modes, strict=True):
            layer.training = training


def _found(patterns: Sequence[str], names: list[str], key: str, what: str) -> list[str]:
    """Return the names in which one of `patterns` is found, each once."""
    found = [
        found_by(pattern, names, f"freeze.{key}[{number}]", what)
        for number, pattern in enumerate(patterns)
    ]
    return list(dict.fromkeys(name for own in found for name in own))
