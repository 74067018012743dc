"""Small sets of five classes in every layout that photos of one's own have, and damage to them.

A photo of class k everywhere is grey of 40 * k, so that a label can be told from its photo.
"""

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("background", "leaf", "stem", "fruit", "soil")
COLORS = ((0, 0, 0), (0, 160, 0), (120, 90, 30), (200, 0, 0), (90, 60, 40))
SIZE = (40, 30)  # width, height
ORIENTATION = 0x0112
TURNED = 6  # EXIF: to be shown turned by 90 degrees to the right


def values(seed, size=SIZE, classes=5):
    """Return a label of blocks of 10 pixels: uint8 [H, W]."""
    blocks = np.random.default_rng(seed).integers(
        0, classes, (-(-size[1] // 10), -(-size[0] // 10))
    )
    return np.kron(blocks, np.ones((10, 10), int))[: size[1], : size[0]].astype(np.uint8)


def photo_of(label):
    """Return the photo that shows a label: uint8 [H, W, 3]."""
    grey = np.where(label == 255, 0, label * 40).astype(np.uint8)
    return np.stack([grey, grey, 255 - grey], axis=-1)


def save(array, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def save_palette(label, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(label)
    image.putpalette([255 - value for color in COLORS for value in color])
    image.save(path)


def save_mat(path, **matrices):
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, matrices)


def image_list(root, train=6, val=2, separator=" ", space="", size=SIZE):
    """Write PaddleSeg's layout, labels with a palette; `space` goes into the names."""
    for split, count, first in (("train", train, 0), ("val", val, train)):
        lines = []
        for index in range(first, first + count):
            name, label = f"photo{space}{index:03d}", values(index, size)
            save(photo_of(label), root / "images" / f"{name}.png")
            save_palette(label, root / "labels" / f"{name}.png")
            lines.append(f"images/{name}.png{separator}labels/{name}.png")
        write(root / f"{split}.txt", *lines)
    write(root / "labels.txt", *NAMES)
    return root


def folder_pair(root, count=10, split="", suffix=""):
    for index in range(count):
        name, label = f"{index:03d}", values(index)
        save(photo_of(label), root / "images" / split / f"{name}.jpg", quality=95)
        save(label, root / "labels" / split / f"{name}{suffix}.png")
    return root


def clothing(root, count=10, names=None):
    for index in range(1, count + 1):
        label = values(index)
        save(photo_of(label), root / "photos" / f"{index:04d}.jpg")
        save_mat(root / "annotations/pixel-level" / f"{index:04d}.mat", groundtruth=label)
    save(photo_of(label), root / "photos" / "2000.jpg")
    save_mat(root / "annotations/image-level" / "2000.mat", tags=np.array([1, 2]))
    cells = np.empty((1, len(names or ())), object)
    cells[0, :] = [np.array([name]) for name in names or ()]
    if names:
        save_mat(root / "label_list.mat", label_list=cells)
    return root


def ade20k(root, train=3, val=2):
    for split, prefix, count in (("training", "train", train), ("validation", "val", val)):
        for index in range(1, count + 1):
            name, label = f"ADE_{prefix}_{index:08d}", values(index, classes=151)
            save(photo_of(label % 6), root / "images" / split / f"{name}.jpg")
            save(label, root / "annotations" / split / f"{name}.png")
    return root


def pascal_context(root, kind):
    """Write two images a split; kind: mmseg, paddleseg, or mat with the original's numbers."""
    from common.data.sets.pascal_context import NUMBERS

    lists = {
        "mmseg": "SegmentationContext/{}.txt",
        "paddleseg": "Segmentation/{}_context.txt",
        "mat": "Main/{}.txt",
    }
    for split, names in (("train", ("2008_0001", "2008_0002")), ("val", ("2008_0003",))):
        write(root / "ImageSets" / lists[kind].format(split), *names)
        for name in names:
            label = values(int(name[-1]), classes=60)
            save(photo_of(label % 6), root / "JPEGImages" / f"{name}.jpg")
            if kind == "mat":
                numbers = np.array([0, *NUMBERS], np.uint16)[label]
                numbers[0, 0] = 459  # of the original, and none of the 59
                save_mat(root / "trainval" / f"{name}.mat", LabelMap=numbers)
            else:
                folder = {"mmseg": "SegmentationClassContext", "paddleseg": "Context"}[kind]
                save(label, root / folder / f"{name}.png")
    return root


def pascal_detail(root):
    """Write the same as `pascal_context` of kind mat, as run lengths in trainval_merged.json."""
    import json

    from pycocotools import mask
    from scipy.io import loadmat

    pascal_context(root, "mat")
    told = {"images": [], "annos_segmentation": [], "annos_boundary": [], "categories": []}
    for number, (phase, name) in enumerate(
        (("train", "2008_0001"), ("train", "2008_0002"), ("val", "2008_0003"))
    ):
        path = root / "trainval" / f"{name}.mat"
        label = loadmat(path)["LabelMap"]
        path.unlink()
        size = {"height": label.shape[0], "width": label.shape[1]}
        image = {"image_id": number, "file_name": f"{name}.jpg", "phase": phase}
        told["images"].append(image | size)
        for category in np.unique(label[label > 0]).tolist():
            runs = mask.encode(np.asfortranarray((label == category).astype(np.uint8)))
            segmentation = {"size": runs["size"], "counts": runs["counts"].decode()}
            row = {"image_id": number, "category_id": category, "segmentation": segmentation}
            told["annos_segmentation"].append(row)
    (root / "trainval_merged.json").write_text(json.dumps(told))
    return root


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return Path(path)
