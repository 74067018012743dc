"""What stands in a port for the machinery of the package `transformers`, by the names there.

Only what the nets need of it: no weights are fetched, saved, or spread over devices, and no text
is generated. Methods that a port does not select are left out.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from logging import Logger, getLogger
from typing import Any

import paddle
from paddle import nn

from port.helpers.calls_paddle import scaled_dot_product_attention


class PreTrainedModel(nn.Layer):
    """The base of all nets: it keeps the configuration, and gives layers their first weights."""

    base_model_prefix = ""
    main_input_name = "input_ids"
    _supports_sdpa = False
    _can_record_outputs: dict[str, Any] | None = None

    def __init__(self, config: Any, *_: Any, **__: Any) -> None:
        super().__init__()
        self.config = config
        if config._attn_implementation is None:
            config._attn_implementation = "sdpa" if self._supports_sdpa else "eager"

    @property
    def dtype(self) -> Any:
        """The type of the weights."""
        return self.parameters()[0].dtype

    @property
    def device(self) -> Any:
        """The place of the weights."""
        return self.parameters()[0].place

    def post_init(self) -> None:
        """Give the layers their first weights, each by the model that it belongs to."""
        with paddle.no_grad():
            self.init_weights_of(self)

    def init_weights_of(self, layer: nn.Layer) -> None:
        """Give a layer and those inside it their first weights, if they have none yet."""
        for child in layer.children():
            owner = child if isinstance(child, PreTrainedModel) else self
            owner.init_weights_of(child)
        if not getattr(layer, "_is_hf_initialized", False):
            self._init_weights(layer)
            layer._is_hf_initialized = True

    def _init_weights(self, module: nn.Layer) -> None:
        names = "initializer_range", "init_std", "initializer_factor"
        known = [getattr(self.config, one) for one in names if hasattr(self.config, one)]
        known = known or [getattr(self.config.get_text_config(), names[0], 0.02)]
        std = known[0] or 0.02
        normal, zero, one = (
            nn.initializer.Normal(std=std),
            nn.initializer.Constant(0.0),
            nn.initializer.Constant(1.0),
        )
        linear = nn.Linear | nn.Embedding | nn.Conv1D | nn.Conv2D | nn.Conv3D
        turned = nn.Conv1DTranspose | nn.Conv2DTranspose
        weight, bias = (getattr(module, name, None) for name in ("weight", "bias"))
        if isinstance(module, linear | turned):
            begin = normal
        elif "Norm" in type(module).__name__:
            begin = one
        else:
            return
        if isinstance(weight, paddle.Tensor):
            begin(weight)
        if isinstance(bias, paddle.Tensor):
            zero(bias)

    def get_head_mask(self, head_mask: Any, num_hidden_layers: int, *_: Any) -> Any:
        """Return a mask of heads for each layer."""
        if head_mask is None:
            return [None] * num_hidden_layers
        if head_mask.ndim == 1:
            head_mask = head_mask.unsqueeze(0).expand([num_hidden_layers, -1])
        return head_mask[:, None, :, None, None]


class GradientCheckpointingLayer(nn.Layer):
    """A layer that a trainer might compute once more in the backward pass; it is not here."""


class BackboneMixin:
    """What a net has that gives the maps of several of its stages."""

    has_attentions = True

    def __init__(self, config: Any, *_: Any, **__: Any) -> None:
        super().__init__(config)  # type: ignore[call-arg]  # of the net beside it
        self._init_backbone(config)

    def _init_backbone(self, config: Any) -> None:
        self.config = config
        self.stage_names = config.stage_names
        self.out_features = self._out_features = config.out_features
        self.out_indices = self._out_indices = config.out_indices
        self.num_features: Any = None

    @property
    def out_feature_channels(self) -> dict[str, int]:
        """The number of channels by stage."""
        return dict(zip(self.stage_names, self.num_features, strict=False))

    @property
    def channels(self) -> list[int]:
        """The numbers of channels of the maps that come out."""
        return [self.out_feature_channels[name] for name in self.out_features]

    def forward_with_filtered_kwargs(self, *args: Any, **kwargs: Any) -> Any:
        """Run the net; one without attention is not asked for its weights."""
        if not self.has_attentions:
            kwargs.pop("output_attentions", None)
        return self(*args, **kwargs)  # type: ignore[operator]  # of a layer


def load_backbone(config: Any) -> Any:
    """Build the backbone that stands beside its configuration: XBackbone beside XConfig."""
    own = getattr(config, "backbone_config", None) or config
    module = import_module(type(own).__module__.replace(".configuration_", ".modeling_"))
    return getattr(module, type(own).__name__.replace("Config", "Backbone"))(own)


class AutoBackbone:
    """Builds backbones."""

    @staticmethod
    def from_config(config: Any, **_: Any) -> Any:
        """Build the backbone that stands beside a configuration: XBackbone beside XConfig."""
        module = import_module(type(config).__module__.replace(".configuration_", ".modeling_"))
        return getattr(module, type(config).__name__.replace("Config", "Backbone"))(config)


class AutoModel:
    """Builds nets without a head."""

    @staticmethod
    def from_config(config: Any, **_: Any) -> Any:
        """Build the net that stands beside a configuration: XModel beside XConfig."""
        module = import_module(type(config).__module__.replace(".configuration_", ".modeling_"))
        return getattr(module, type(config).__name__.replace("Config", "Model"))(config)


class ModelOutput(OrderedDict):
    """What a net returns: its parts by attribute, by name and by number, without those of None."""

    def __post_init__(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]  # its classes are dataclasses
            value = getattr(self, field.name)
            if value is not None:
                super().__setitem__(field.name, value)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        super().__setattr__(key, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self and value is not None:
            super().__setitem__(name, value)
        super().__setattr__(name, value)

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the parts that are not None."""
        return tuple(self.values())


def compile_compatible_method_lru_cache(*_: Any, **__: Any) -> Callable[..., Any]:
    """Leave a method as it is: what it worked out is not kept."""
    return lambda method: method


def use_kernel_forward_from_hub(*_: Any) -> Callable[..., Any]:
    """Leave a layer as it is."""
    return lambda layer: layer


def torch_int(x: Any) -> int:
    """Return a number without its part behind the point."""
    return int(x)


def torch_float(x: Any) -> float:
    """Return a number with a point."""
    return float(x)


class ClassInstantier(OrderedDict):
    """Makes the activation of a name."""

    def __getitem__(self, key: str) -> Any:
        kind = super().__getitem__(key)
        kind, settings = kind if isinstance(kind, tuple) else (kind, {})
        return kind(**settings)


def torch_compilable_check(condition: Any, message: Any, kind: Any = ValueError) -> None:
    """Raise where a condition, which may be a tensor, does not hold."""
    if not bool(condition):
        raise kind(message() if callable(message) else message)


def requires_backends(*_: Any) -> None:
    """Ask for no package: what a port needs it imports."""


def is_scipy_available() -> bool:
    """Tell whether SciPy is installed."""
    return find_spec("scipy") is not None


def is_accelerate_available(*_: Any) -> bool:
    """Tell that nothing is spread over devices."""
    return False


def is_timm_available() -> bool:
    """Tell that no backbone comes from timm."""
    return False


def is_torch_available() -> bool:
    """Tell that there is a framework."""
    return True


def is_vision_available() -> bool:
    """Tell whether Pillow is installed."""
    return find_spec("PIL") is not None


def get_logger(name: str) -> Logger:
    """Return Python's logger of a module."""
    return getLogger(name)


def sdpa_attention_forward(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **_: Any,
) -> tuple[Any, None]:
    """Attend: (batch, heads, length, size) -> (batch, length, heads, size), and no weights."""
    if is_causal is None:
        several = query.shape[2] > 1 and attention_mask is None
        is_causal = several and getattr(module, "is_causal", True)
    found = scaled_dot_product_attention(
        query, key, value, attention_mask, dropout, is_causal, scaling
    )
    return found.transpose([0, 2, 1, 3]), None


def create_bidirectional_mask(
    config: Any,
    inputs_embeds: Any,
    attention_mask: Any = None,
    encoder_hidden_states: Any = None,
    **kwargs: Any,
) -> Any:
    """Return which tokens [batch, length] are seen: [batch, 1, query, length]; None: all."""
    if any(value is not None for name, value in kwargs.items() if name.endswith("_function")):
        raise NotImplementedError("a mask that a function changes")
    if attention_mask is None or attention_mask.ndim == 4:
        return attention_mask
    if config._attn_implementation != "sdpa":
        raise NotImplementedError("a mask of tokens for another attention than sdpa")
    batch, length = attention_mask.shape
    seen = attention_mask.astype("bool").reshape([batch, 1, 1, length])
    return seen.expand([batch, 1, inputs_embeds.shape[1], length])


class AttentionInterface(dict):
    """How nets attend, by name."""

    def get_interface(self, name: str | None, default: Any) -> Any:
        """Return what is called so; the net's own for "eager"."""
        return default if name in (None, "eager") else self[name]


ALL_ATTENTION_FUNCTIONS = AttentionInterface(sdpa=sdpa_attention_forward)
