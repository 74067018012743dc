"""What stands in a port for the settings of nets of the package `transformers`, by the names there.

Only what the nets need of it: none are fetched or saved. Methods that a port does not select are
left out.
"""

from dataclasses import MISSING, dataclass, fields
from importlib import import_module
from typing import Any, ClassVar


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


@dataclass(init=False, repr=False, kw_only=True)
class PreTrainedConfig:
    """The settings of a net, from version 5: fields of dataclasses, which are given by name."""

    model_type: ClassVar[str] = ""
    base_config_key: ClassVar[str] = ""
    sub_configs_defaults: ClassVar[dict[str, Any]] = {}
    attribute_map: ClassVar[dict[str, str]] = {}
    default_theta = 10_000.0
    default_rope_type = "default"

    output_hidden_states: Any = False
    return_dict: Any = True
    dtype: Any = None
    chunk_size_feed_forward: int = 0
    is_encoder_decoder: bool = False
    id2label: Any = None
    label2id: Any = None
    problem_type: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        parts = cls.sub_configs_defaults.items()
        cls.sub_configs_defaults = {
            name: one if isinstance(one, SubConfigSpec) else SubConfigSpec(one)
            for name, one in parts
        }
        dataclass(init=False, repr=False, kw_only=True)(cls)

    def __init__(self, **settings: Any) -> None:
        for field in fields(self):
            if field.name in settings:
                value = settings.pop(field.name)
            elif field.default is not MISSING:
                value = field.default
            elif field.default_factory is not MISSING:
                value = field.default_factory()
            else:
                raise TypeError(f"{type(self).__name__} needs {field.name}")
            setattr(self, field.name, value)
        self.__post_init__(**settings)

    def __post_init__(self, **settings: Any) -> None:
        """Make the settings of parts, and take what is no field."""
        for name, spec in self.sub_configs_defaults.items():
            own = getattr(self, name)
            if own is not None or not spec.optional:
                own, settings = spec.create_subconfig(name, own, **settings)
                setattr(self, name, own)
        if self.id2label is None:
            self.num_labels = settings.get("num_labels", 2)
        else:
            self.id2label = {int(number): name for number, name in self.id2label.items()}
        if hasattr(self, "rope_parameters"):
            settings = self.convert_rope_params_to_dict(**settings)
        self.output_attentions = settings.pop("output_attentions", False)
        attention = settings.pop("attn_implementation", None)
        self._attn_implementation = "eager" if self.output_attentions else attention
        for part in (getattr(self, name) for name in self.sub_configs_defaults):
            if attention and part is not None:
                part._attn_implementation = attention
        for name, value in settings.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(type(self).attribute_map.get(name, name), value)

    def __getattribute__(self, name: str) -> Any:
        names = type(self).attribute_map if name != "__class__" else {}
        return super().__getattribute__(names.get(name, name))

    @property
    def use_return_dict(self) -> Any:
        """Whether what a net returns has names."""
        return self.return_dict

    @property
    def num_labels(self) -> Any:
        """The number of classes; None before it is known."""
        return None if self.id2label is None else len(self.id2label)

    @num_labels.setter
    def num_labels(self, number: int) -> None:
        if number != self.num_labels:
            self.id2label = {one: f"LABEL_{one}" for one in range(number)}
            self.label2id = {name: one for one, name in self.id2label.items()}

    def convert_rope_params_to_dict(self, **settings: Any) -> dict[str, Any]:
        """Gather what rotary positions need; return the other settings."""
        rope = settings.pop("rope_scaling", None) or getattr(self, "rope_parameters", None) or {}
        if any(isinstance(one, dict) for one in rope.values()):
            raise NotImplementedError("rotary positions that differ by the type of the layer")
        rope.setdefault("rope_type", rope.get("type", "default"))
        if rope["rope_type"] == "default":
            rope["rope_type"] = self.default_rope_type
        own = getattr(self, "rope_theta", self.default_theta)
        rope.setdefault("rope_theta", settings.pop("rope_theta", own))
        own = getattr(self, "partial_rotary_factor", None)
        part = settings.pop("partial_rotary_factor", own)
        if part is not None:
            rope.setdefault("partial_rotary_factor", part)
        self.rope_parameters = rope
        return settings

    def validate_architecture(self) -> None:
        """Find nothing wrong: the reference's settings were checked."""

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


class SubConfigSpec:
    """How the settings of a part are made where none are given."""

    def __init__(
        self,
        config_class: Any,
        model_type: str | None = None,
        init_kwargs: dict[str, Any] | None = None,
        optional: bool = False,
    ) -> None:
        self.config_class, self.optional = config_class, optional
        self.model_type = model_type or config_class.model_type
        self.init_kwargs = init_kwargs or {}

    def create_subconfig(self, key: str, subconfig: Any = None, **kwargs: Any) -> Any:
        """Return (the settings of the part `key`, the others)."""
        if isinstance(subconfig, PreTrainedConfig):
            return subconfig, kwargs
        if key == "backbone_config":
            if subconfig is None and kwargs.get("backbone") is not None:
                raise NotImplementedError(f"a backbone that timm makes: {kwargs['backbone']}")
            unused = "use_timm_backbone", "backbone_kwargs", "backbone", "use_pretrained_backbone"
            kwargs = {name: value for name, value in kwargs.items() if name not in unused}
        settings = self.init_kwargs if subconfig is None else subconfig
        kind = self.config_class
        if not issubclass(kind, PreTrainedConfig):
            settings = {"model_type": self.model_type, **settings}
            file = settings["model_type"].replace("-", "_")
            try:
                module = import_module(f".models.{file}.configuration_{file}", __package__)
            except ModuleNotFoundError:  # of a part that the net does not have
                return PreTrainedConfig(**settings), kwargs
            name = settings["model_type"]
            kinds = vars(module).values()
            kind = next(one for one in kinds if getattr(one, "model_type", "") == name)
        return kind(**settings), kwargs


class AutoConfig:
    """Makes the settings of a net by its type."""

    @staticmethod
    def for_model(model_type: str, **settings: Any) -> Any:
        """Make the settings of a net of that type."""
        return CONFIG_MAPPING[model_type](**settings)


class _LazyConfigMapping(dict):
    """The classes of configurations by the types of their nets."""

    def __missing__(self, model_type: str) -> Any:
        name = model_type.replace("-", "_")
        module = import_module(f"..{name}.configuration_{name}", __package__)
        kinds = vars(module).values()
        return next(kind for kind in kinds if getattr(kind, "model_type", "") == model_type)


CONFIG_MAPPING = _LazyConfigMapping()
