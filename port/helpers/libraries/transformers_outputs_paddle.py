"""What stands in a port for what `transformers` gathers of a net's layers, by the names there.

Methods that a port does not select are left out.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypedDict


class TransformersKwargs(TypedDict, total=False):
    """Arguments that a net hands on to its layers."""


def can_return_tuple(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Let `return_dict=False`, or the configuration, ask a `forward` for a tuple."""

    @wraps(forward)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        asked = kwargs.pop("return_dict", None)
        output = forward(self, *args, **kwargs)
        as_it_is = self.config.return_dict if asked is None else asked
        return output if as_it_is or isinstance(output, tuple) else output.to_tuple()

    return wrapper


def merge_with_config_defaults(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Take arguments that are not given from the configuration, where it has them."""
    names = (
        *("use_cache", "vision_feature_layer"),
        *("vision_feature_select_strategy", "vision_aspect_ratio"),
    )
    places = {one: at for at, one in enumerate(forward.__code__.co_varnames[1:]) if one in names}

    @wraps(forward)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        for name in names:
            own = getattr(self.config, name, None)
            given = places.get(name, len(args)) < len(args)
            if own is not None and not given and kwargs.get(name) is None:
                kwargs[name] = own
        causal = kwargs.get("is_causal", getattr(self.config, "is_causal", None))
        if causal is None:
            return forward(self, *args, **kwargs)
        before = vars(self.config).get("is_causal", causal)
        self.config.is_causal = kwargs["is_causal"] = causal
        try:
            return forward(self, *args, **kwargs)
        finally:
            self.config.is_causal = before

    return wrapper


class OutputRecorder:
    """Which layers' outputs are gathered: of a class, at a place of what they return."""

    active: Any = None  # what is gathered now: that of the innermost net

    def __init__(
        self,
        target_class: Any,
        index: int = 0,
        layer_name: str | None = None,
        class_name: str | None = None,
        capture_initial_hidden_state: bool = True,
        num_hidden_layers_key: str = "num_hidden_layers",
    ) -> None:
        self.target_class, self.index, self.layer_name = target_class, index, layer_name
        self.class_name = class_name
        self.capture_initial_hidden_state = capture_initial_hidden_state
        self.num_hidden_layers_key = num_hidden_layers_key

    def takes(self, name: str, layer: Any) -> bool:
        """Tell whether the outputs of a layer are gathered; its name begins with a dot."""
        by_name = bool(self.class_name) and name.endswith(str(self.class_name))
        known = by_name or bool(self.target_class and isinstance(layer, self.target_class))
        return known and (not self.layer_name or f".{self.layer_name.strip('.')}." in f"{name}.")

    def note(self, key: str, found: Any) -> Callable[..., None]:
        """Return a hook that adds what a layer returns to `found`, while that is gathered."""

        def hook(layer: Any, inputs: Any, output: Any) -> None:
            if OutputRecorder.active is not found:
                return
            if key == "hidden_states" and self.capture_initial_hidden_state and not found[key]:
                found[key].append(inputs[0])
            value = output[self.index] if isinstance(output, tuple) else output
            if value is not None:
                found[key].append(value)

        return hook


def capture_outputs(
    forward: Callable[..., Any] | None = None, *, tie_last_hidden_states: bool = True
) -> Callable[..., Any]:
    """Let a `forward` return a tuple, and what its layers gave, where it is asked to.

    A net inside it says itself what is gathered of its layers, and gathers it in its own `forward`
    where that is one of these.
    """
    asked_as = {"cross_attentions": "attentions", "mask_decoder_attentions": "attentions"}

    def decorated(forward: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(forward)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            as_it_is = kwargs.pop("return_dict", getattr(self.config, "return_dict", True))
            found: dict[str, Any] = {}
            chosen = None
            for key in self._can_record_outputs or {}:
                name = f"output_{asked_as.get(key, key)}"
                asked = kwargs.get(name, getattr(self.config, name, False))
                if asked:
                    found[key] = []
                if key == "hidden_states":
                    chosen = asked
            hooks = gather(self, found, "") if found else []
            around, OutputRecorder.active = OutputRecorder.active, found
            try:
                outputs = forward(self, *args, **kwargs)
            finally:
                OutputRecorder.active = around
                for hook in hooks:
                    hook.remove()
            tie = getattr(self.config, "tie_last_hidden_states", None)
            for key, gathered in found.items():
                if key == "hidden_states":
                    gathered = only(gathered, chosen)
                    last = getattr(outputs, "last_hidden_state", None)
                    last = getattr(outputs, "vision_hidden_states", last)
                    tied = tie_last_hidden_states if tie is None else tie
                    if tied and gathered and gathered[-1] is not None and last is not None:
                        gathered[-1] = last
                outputs[key] = tuple(gathered)
            return outputs.to_tuple() if as_it_is is False else outputs

        return wrapper

    def gather(net: Any, found: dict[str, Any], name: str) -> list[Any]:
        recorders: list[tuple[str, Any]] = []
        for key in found:
            kinds = (net._can_record_outputs or {}).get(key, [])
            for kind in kinds if isinstance(kinds, list) else [kinds]:
                index = 0 if "hidden_states" in key else 1
                if isinstance(kind, str):
                    kind = OutputRecorder(None, index, class_name=kind)
                elif not isinstance(kind, OutputRecorder):
                    kind = OutputRecorder(kind, index)
                recorders.append((key, kind))

        def walk(layer: Any, name: str) -> list[Any]:
            hooks = []
            for own, child in layer.named_children():
                inside = hasattr(child, "_can_record_outputs")
                inner = f"{name}.{own}"
                hooks += gather(child, found, inner) if inside else walk(child, inner)
            for key, one in recorders:
                if one.takes(name, layer):
                    hooks.append(layer.register_forward_post_hook(one.note(key, found)))
            return hooks

        return walk(net, name)

    def only(values: list[Any], chosen: Any) -> list[Any]:
        if isinstance(chosen, bool) or chosen is None:
            return values
        places = [chosen] if isinstance(chosen, int) else chosen
        kept = {at % len(values) for at in places if -len(values) <= at < len(values)}
        return [value if at in kept else None for at, value in enumerate(values)]

    return decorated if forward is None else decorated(forward)


def filter_output_hidden_states(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Let a backbone gather its hidden states, and return them only where they are asked for."""

    @wraps(forward)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        asked = kwargs.get("output_hidden_states", getattr(self.config, "output_hidden_states", 0))
        output = forward(self, *args, **{**kwargs, "output_hidden_states": True})
        if not asked:
            kept = {name: value for name, value in output.items() if name != "hidden_states"}
            return type(output)(**kept)
        return output

    return wrapper


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
                if one.takes(f".{name}", layer)
            ]
        return hooks

    return decorated if forward is None else decorated(forward)
