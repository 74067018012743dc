"""The files that a new reproduction begins with: a commented config, and stubs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.documents import write_text
from common.settings.data import DATASETS, PhotosData
from common.settings.own import OWN

NET = '''"""{title}."""

from {framework} import nn


def build(classes):
    """Return the net, a {framework}.nn.{base} of images [N, 3, H, W]; called with `model.args`.

    It returns logits [N, classes, h, w], a tuple that begins with them, or {{"out": logits, ...}}.
    """
    raise NotImplementedError("return your net here: return Net(classes)")
'''
# Keys that a schedule has no default for, for the 1000 iterations that the config begins with.
NEEDED_BY_SCHEDULES = {
    "step_decay": ", size: 300",
    "multistep": ", milestones: [600, 900]",
}
LOSS = '''

def loss(outputs, label):
    """Return the loss, a scalar, of what the net returns and label int64 [N, H, W]."""
    raise NotImplementedError("{example}")
'''
OPTIMIZER = '''

def optimizer(parameters):
    """Return the optimizer of the net's parameters."""
    raise NotImplementedError("{example}")
'''
METRIC = '''

class Score:
    """The metric that the paper reports; higher is better."""

    def update(self, prediction, label):
        """Take a batch: classes and labels, int64 tensors [N, H, W]; 255 does not count."""
        raise NotImplementedError("count here")

    def compute(self):
        """Return the score of all batches, one number."""
'''
RATE = '''"""The learning rate of every step."""


def rate(step):
    """Return the rate of update `step`, counted from 0."""
    raise NotImplementedError("return 0.01 * (1 - step / 40000) ** 0.9")
'''
DATA = '''"""The data of both sides, without a framework."""


class Data:
    """A split ("train" or "val") of the data set."""

    def __init__(self, split):
        raise NotImplementedError("list the files of the split")

    def __len__(self):
        return 0

    def __getitem__(self, index):
        """Return (image, label): uint8 [H, W, 3] RGB and uint8 [H, W], void 255."""
'''
AUGMENT = '''

def augment(image, label, rng):
    """Return image uint8 [H, W, 3] and label [H, W], augmented; draw from `rng` (NumPy)."""
    raise NotImplementedError("if rng.random() < 0.5: return image[:, ::-1], label[:, ::-1]")
'''
EXAMPLES = {
    ("torch", "loss"): "return F.cross_entropy(outputs, label, ignore_index=255)",
    ("paddle", "loss"): "return F.cross_entropy(outputs, label, ignore_index=255, axis=1)",
    ("torch", "optimizer"): "return torch.optim.SGD(parameters, lr=0.01, momentum=0.9)",
    ("paddle", "optimizer"): "return paddle.optimizer.Momentum(0.01, 0.9, parameters)",
}
TITLES = {"torch": "The reference, in PyTorch", "paddle": "The port, in Paddle"}
BASES = {"torch": "Module", "paddle": "Layer"}


def stubs(answers: Mapping[str, Any]) -> dict[str, str]:
    """Return {file: text} of all stubs that the answers ask for."""
    files: dict[str, str] = {}
    for side, title in TITLES.items():
        module, _, name = answers[side].partition(":")
        if name == "build" and "." not in module:
            about = {"title": title, "framework": side, "base": BASES[side]}
            files[f"{module}.py"] = NET.format(**about)
        parts = [(key, text) for key, text in (("loss", LOSS), ("optimizer", OPTIMIZER))]
        recipe = "".join(
            text.format(example=EXAMPLES[side, key]) for key, text in parts if answers[key] == OWN
        )
        recipe += METRIC if answers["metric"] == OWN else ""
        if recipe:
            files[f"recipe_{side}.py"] = (
                f'"""The recipe of {title[0].lower()}{title[1:]}."""\n{recipe}'
            )
    if answers["schedule"] == OWN and not _has_schedules(answers):
        files["rates.py"] = RATE
    own_data, own_augment = (answers[key] == OWN for key in ("data", "augmentation"))
    if own_data or own_augment:
        head = DATA if own_data else '"""The augmentation of both sides."""\n'
        files["my_data.py"] = head + (AUGMENT if own_augment else "")
    return files


def _has_schedules(answers: Mapping[str, Any]) -> bool:
    """Tell whether the recipes of both sides are there, with a schedule each."""
    return all("schedule" in names for names in answers["there"].values())


def _metric(answers: Mapping[str, Any]) -> str:
    """Return the name of both sides' metric: of a class with `update` that both recipes have."""
    theirs, ours = answers["there"].values()
    known = [name for name in theirs if name in ours and name[0].isupper()]
    return "Score" if "Score" in known or not known else str(known[-1])


def config(answers: Mapping[str, Any]) -> str:
    """Return the text of the config."""
    shape = answers["input_shape"]
    checkpoint = answers["checkpoint"]
    weights = (
        f"weights:\n  path: {checkpoint}  # of the authors, in PyTorch\n" if checkpoint else ""
    )
    if not checkpoint and answers["checkpoints"]:
        said = f"of the authors, in PyTorch; here: {', '.join(answers['checkpoints'])}"
        weights = f"# weights: {{path: ...}}  # {said}\n"
    names = {"loss": "loss", "optimizer": "optimizer", "metric": _metric(answers)}
    each = {
        key: f"{{torch: recipe_torch:{name}, paddle: recipe_paddle:{name}}}"
        for key, name in names.items()
    }
    parts = {key: each[key] if answers[key] == OWN else f"{{name: {answers[key]}}}" for key in each}
    rate = "{both: rates:rate}"
    if _has_schedules(answers):
        rate = "{torch: recipe_torch:schedule, paddle: recipe_paddle:schedule}"
    if answers["schedule"] != OWN:
        more = NEEDED_BY_SCHEDULES.get(answers["schedule"], "")
        rate = f"{{name: {answers['schedule']}, base_lr: 0.01{more}}}"
    return CONFIG.format(
        name=answers["name"],
        torch=_named_net(answers, "torch"),
        args=_arguments(answers),
        paddle=_named_net(answers, "paddle"),
        classes=answers["classes"],
        weights=weights,
        data=_data(answers["data"], answers["classes"]),
        augmentation="{both: my_data:augment}"
        if answers["augmentation"] == OWN
        else "{name: none}",
        rate=rate,
        shape=shape,
        crop=shape[2:],
        batch=shape[0],
        **parts,
    )


def _named_net(answers: Mapping[str, Any], side: str) -> str:
    """Return what a side's net is called in the config; beside a stub those that are there."""
    name, here = str(answers[side]), answers["nets"][side][:5]
    return f"{name}  # here: {', '.join(here)}" if here and name not in here else name


def _arguments(answers: Mapping[str, Any]) -> str:
    """Return the lines that hand the number of classes to both nets, by the names they take."""
    count, names = answers["classes"], answers["takes"]
    if names["torch"] == names["paddle"] and names["torch"]:
        said = "both are called with these; torch_args, paddle_args: one of them"
        return f"  args: {{{names['torch']}: {count}}}  # {said}\n"
    lines = [f"  {side}_args: {{{name}: {count}}}\n" for side, name in names.items() if name]
    return "".join(lines)


def _data(name: str, classes: int) -> str:
    if name == OWN:
        return "both: my_data:Data  # one for both sides; or torch: and paddle:, which are compared"
    told = f"dataset: {name}\n  root: data/{name}"
    if issubclass(DATASETS[name].settings, PhotosData):
        told += f"\n  num_classes: {classes}  # or class_names, or class_file"
    return told


CONFIG = """\
# What each callable gets and returns: docs/guide/own_config.md of torch2paddle-seg.
name: {name}
model:
  torch: {torch}
  paddle: {paddle}
{args}  num_classes: {classes}
  # rules: map.yml  # where the port names layers otherwise: docs/rules.md
{weights}data:
  {data}
  augmentation: {augmentation}
  crop_hw: {crop}  # height, width
  batch_size: {batch}
  normalisation:
    channels: rgb  # or bgr
    pixel_range: 1  # divided by 255 first; 255: left as it is
    mean: [0.485, 0.456, 0.406]
    std: [0.229, 0.224, 0.225]
loss: {loss}
optimizer: {optimizer}
schedule: {rate}
metric: {metric}
train:
  iterations: 1000
  eval_interval: 100
reproduce:
  input_shape: {shape}  # of the rungs of alignment
  training_steps: 5
"""


def write_missing(folder: Path, answers: Mapping[str, Any]) -> list[Path]:
    """Write config and stubs; what is there already stays as it is. Return what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {**stubs(answers), f"{answers['name']}.yml": config(answers)}
    written = []
    for name, text in texts.items():
        if not (folder / name).exists():
            write_text(folder / name, text)
            written.append(folder / name)
    return written
