"""What stands in a port for the machinery of the package `transformers`, by the names there.

Only what the nets need of it: no weights are fetched, saved, or spread over devices, and no text
is generated. Methods that a port does not select are left out.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from logging import Logger, getLogger
from typing import Any

import paddle
from paddle import nn

from port.helpers.calls_paddle import scaled_dot_product_attention


class PretrainedConfig:
    """The settings of a net."""

    model_type = ""
    base_config_key = ""
    sub_configs: Any = {}  # noqa: RUF012  # as the package has them
    attribute_map: Any = {}  # noqa: RUF012  # likewise

    def __init__(
        self,
        *,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool = True,
        num_labels: int = 2,
        id2label: dict[int, str] | None = None,
        label2id: dict[str, int] | None = None,
        attn_implementation: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.output_hidden_states = output_hidden_states
        self.output_attentions = output_attentions
        self.return_dict = self.use_return_dict = return_dict
        self.id2label = {int(number): name for number, name in (id2label or {}).items()}
        self.label2id = label2id
        if id2label is None:
            self.num_labels = num_labels
        self._attn_implementation = attn_implementation
        for name in self.sub_configs if attn_implementation else ():
            getattr(self, name)._attn_implementation = attn_implementation
        self.pruned_heads: dict[int, list[int]] = {}
        self.chunk_size_feed_forward = 0
        self.problem_type = self.pad_token_id = self.cross_attention_hidden_size = None
        self.tie_word_embeddings = True
        self.is_encoder_decoder = self.is_decoder = self.add_cross_attention = False
        for name, value in kwargs.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(type(self).attribute_map.get(name, name), value)

    def __getattribute__(self, name: str) -> Any:
        names = type(self).attribute_map if name != "__class__" else {}
        return super().__getattribute__(names.get(name, name))

    @property
    def num_labels(self) -> int:
        """The number of classes."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, number: int) -> None:
        if number != len(self.id2label):
            self.id2label = {one: f"LABEL_{one}" for one in range(number)}
            self.label2id = {name: one for one, name in self.id2label.items()}

    def get_text_config(self, *_: Any, **__: Any) -> Any:
        """Return the settings of the part for text, these where there is none."""
        names = ("text_config", "text_encoder")
        return next((getattr(self, one) for one in names if hasattr(self, one)), self)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings by name."""
        return {**vars(self), "model_type": self.model_type}

    @classmethod
    def from_dict(cls, settings: dict[str, Any], **kwargs: Any) -> Any:
        """Make the settings of a net from a dictionary."""
        return cls(**{**settings, **kwargs})


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
        std = getattr(self.config.get_text_config(), "initializer_range", 0.02)
        normal, zero, one = (
            nn.initializer.Normal(std=std),
            nn.initializer.Constant(0.0),
            nn.initializer.Constant(1.0),
        )
        kind, weight, bias = type(module), *(getattr(module, n, None) for n in ("weight", "bias"))
        if isinstance(module, nn.Linear | nn.Embedding) or "Conv" in kind.__name__:
            begin = normal
        elif "Norm" in kind.__name__:
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


class _LazyConfigMapping(dict):
    """The classes of configurations by the types of their nets."""

    def __missing__(self, model_type: str) -> Any:
        name = model_type.replace("-", "_")
        module = import_module(f"..{name}.configuration_{name}", __package__)
        kinds = vars(module).values()
        return next(kind for kind in kinds if getattr(kind, "model_type", "") == model_type)


CONFIG_MAPPING = _LazyConfigMapping()


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


def can_return_tuple(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Let `return_dict=False`, or the configuration, ask a `forward` for a tuple."""

    @wraps(forward)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        asked = kwargs.pop("return_dict", None)
        output = forward(self, *args, **kwargs)
        as_it_is = self.config.return_dict if asked is None else asked
        return output if as_it_is or isinstance(output, tuple) else output.to_tuple()

    return wrapper


class OutputRecorder:
    """Which layers' outputs are gathered: of a class, at a place of what they return."""

    def __init__(
        self, target_class: Any, index: int = 0, layer_name: str = "", class_name: str = ""
    ) -> None:
        self.target_class, self.index, self.layer_name = target_class, index, layer_name
        self.class_name = class_name

    def takes(self, name: str, layer: Any) -> bool:
        """Tell whether the outputs of a layer are gathered."""
        by_name = bool(self.class_name) and name.endswith(self.class_name)
        known = by_name or bool(self.target_class and isinstance(layer, self.target_class))
        return known and (self.layer_name or "") in name


def check_model_inputs(
    forward: Callable[..., Any] | None = None, *, tie_last_hidden_states: bool = True
) -> Callable[..., Any]:
    """Let a `forward` return a tuple, and what its layers gave, where it is asked to."""

    def decorated(forward: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(forward)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            asked = kwargs.pop("return_dict", None)
            hooks: list[Any] = []
            found: dict[str, list[Any]] = {}
            for key, kinds in (self._can_record_outputs or {}).items():
                name = f"output_{key}"
                if kwargs.get(name, getattr(self.config, name, False)):
                    found[key] = []
                    hooks += gather(self, key, kinds, found[key])
            try:
                outputs = forward(self, *args, **kwargs)
            finally:
                for hook in hooks:
                    hook.remove()
            for key, gathered in found.items():
                if key == "hidden_states" and tie_last_hidden_states:
                    gathered[-1] = outputs.last_hidden_state
                outputs[key] = tuple(gathered)
            as_it_is = getattr(self.config, "return_dict", True) if asked is None else asked
            return outputs if as_it_is else outputs.to_tuple()

        return wrapper

    def gather(net: Any, key: str, kinds: Any, found: list[Any]) -> list[Any]:
        def hook(index: int) -> Callable[..., None]:
            def note(layer: Any, inputs: Any, output: Any) -> None:
                if key == "hidden_states" and not found:
                    found.append(inputs[0])
                value = output[index] if isinstance(output, tuple) else output
                if value is not None:
                    found.append(value)

            return note

        hooks = []
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            index = 0 if "hidden_states" in key else 1
            one = kind if isinstance(kind, OutputRecorder) else OutputRecorder(kind, index)
            hooks += [
                layer.register_forward_post_hook(hook(one.index))
                for name, layer in net.named_sublayers()
                if one.takes(name, layer)
            ]
        return hooks

    return decorated if forward is None else decorated(forward)


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


ALL_ATTENTION_FUNCTIONS = {"sdpa": sdpa_attention_forward}
