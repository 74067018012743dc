"""What to do in PyTorch about a file that is not read: lines that can be pasted as they are."""

from collections.abc import Iterable, Sequence
from pathlib import Path

_NPZ = """
It is NumPy's. If its names are those of the net, save it as PyTorch would:
    import numpy, torch
    arrays = numpy.load({path!r})
    torch.save({{name: torch.from_numpy(arrays[name]) for name in arrays}}, 'weights.pth')"""
_PT2 = """
It is an exported program (torch.export.save). Its weights alone, in PyTorch:
    import torch
    program = torch.export.load({path!r})
    torch.save(dict(program.state_dict), 'weights.pth')"""
_SPARSE = """
Save it dense, in PyTorch:
    import torch
    state = torch.load({path!r}, weights_only=True){place}
    dense = {{name: value.to_dense() if value.layout != torch.strided else value
             for name, value in state.items() if isinstance(value, torch.Tensor)}}
    torch.save(dense, 'weights.pth')"""
_QUANTISED = """
Better than any way back: convert the checkpoint that it was quantised from. Else, in PyTorch, with
the rounding of the quantisation in it:
    import torch
    state = torch.load({path!r}, weights_only=False){place}  # runs code of the file
    plain = {{}}
    for name, value in state.items():
        path, _, leaf = name.rpartition('.')
        if leaf == '_packed_params':
            weight, bias = value
            path = path.removesuffix('._packed_params')
            plain[path + '.weight'] = weight.dequantize()
            if bias is not None:
                plain[path + '.bias'] = bias
        elif leaf not in ('scale', 'zero_point', 'dtype') and isinstance(value, torch.Tensor):
            plain[name] = value.dequantize() if value.is_quantized else value
    torch.save(plain, 'weights.pth')"""
_NESTED = """
Save each of its parts under a name of its own, in PyTorch: value.unbind()."""
_LIST = """
Tensors without names: give them those of the net, in PyTorch, if they are in its order:
    import torch
    tensors = torch.load({path!r}, weights_only=True)
    torch.save(dict(zip(net.state_dict(), tensors, strict=True)), 'weights.pth')"""
_QUANTISED_ELSEWHERE = """
It was quantised by another library, whose layers hold integers and scales. Let that library make
floats of it again (transformers: model.dequantize()), or convert the checkpoint that it was
quantised from; save model.state_dict()."""
# What such libraries call their tensors.
_FOREIGN = {"qweight", "qzeros", "scales_and_zeros", "SCB", "absmax", "quant_map", "weight_packed"}
_WHOLE = ("torch.nn.", "torchvision.models.", "torch.fx.", "timm.models.", "segmentation_models_")
_PLACES_OF_NETS = {
    *("model", "net", "network", "module", "ema", "model_ema", "ema_model", "student", "teacher"),
    *("generator", "discriminator", "encoder", "decoder", "backbone"),
}


def for_zip(path: Path, names: Sequence[str]) -> str:
    """Return what to do about a zip file that is not torch.save's, "" where it is not known."""
    if names and all(name.endswith(".npy") for name in names):
        return _NPZ.format(path=path.name)
    ends = ("archive_format", "serialized_exported_program.json", "models/model.json")
    if path.suffix == ".pt2" or any(name.endswith(ends) for name in names):
        return _PT2.format(path=path.name)
    return ""


def for_tensor(path: Path, what: str, place: str) -> str:
    """Return what to do about a tensor that is not plain and dense, "" where it is not known.

    `what` are the words of `pickles.globals.Odd`; `place` leads to the state dict in the file.
    """
    known = {"sparse": _SPARSE, "quantised": _QUANTISED, "a nested tensor": _NESTED}
    return known.get(what, "").format(path=path.name, place=_indexed(place))


def for_names(names: Iterable[str]) -> str:
    """Return what to do about names of layers that another library quantised, else ""."""
    return _QUANTISED_ELSEWHERE if {n.rpartition(".")[2] for n in names} & _FOREIGN else ""


def for_list(path: Path) -> str:
    """Return what to do about a list of tensors."""
    return _LIST.format(path=path.name)


def for_code(path: Path, name: str, keys: Sequence[str]) -> str:
    """Return what to do about a pickle that asks for the class `name` at the place `keys`."""
    load = f"    checkpoint = torch.load({path.name!r}, weights_only=False)  # runs that code\n"
    place = "".join(f"[{key!r}]" for key in keys)
    head, keep = "", "checkpoint['state_dict']"
    note = "  # or the entry that holds the weights; of a whole net: .state_dict()"
    if name.startswith(_WHOLE) or (keys and keys[-1].lower() in _PLACES_OF_NETS):
        there = f" at {'.'.join(keys)!r}" if keys else ""
        head = f"It holds a whole net{there} instead of its weights. "
        keep, note = f"checkpoint{place}.state_dict()", ""
    elif not keys:
        keep = "checkpoint.state_dict()"
        note = "  # of a whole net; of a dict: the entry that holds the weights"
    save = f"    torch.save({keep}, 'weights.pth'){note}"
    return f"{head}If you trust its source, save the weights alone, in PyTorch:\n{load}{save}"


def _indexed(place: str) -> str:
    parts = place.split(".") if place else []
    return "".join(f"[{int(part) if part.isdecimal() else part!r}]" for part in parts)
