"""What Cityscapes' own scripts count of files of label ids; see test_agrees_with_cityscapes.py.

Run by itself it prints the golden numbers of that test:
    python -m tests.commands.evaluate.cityscapes_server
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

VERSION = "2.3.0"  # of cityscapesScripts, which made the golden numbers
LABEL_ID_OF_TRAIN_ID = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def made_up(frames=3, size=(24, 40)):
    """Return [(label ids, predicted train ids)], uint8 [H, W]: half right, all kinds of void."""
    made = []
    for seed in range(frames):
        state = np.random.RandomState(seed)  # its stream never changes
        label = state.randint(0, 34, size).astype(np.uint8)
        right = np.zeros(256, np.int64)
        right[list(LABEL_ID_OF_TRAIN_ID)] = np.arange(19)
        guess = state.randint(0, 19, size)
        predicted = np.where(state.rand(*size) < 0.5, right[label], guess)
        made.append((label, predicted.astype(np.uint8)))
    return made


def their_result(predictions, labels):
    """Return the result of Cityscapes' own evaluation of two lists of files."""
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as theirs

    theirs.args.quiet, theirs.args.JSONOutput, theirs.args.evalInstLevelScore = True, False, False
    return theirs.evaluateImgLists(list(map(str, predictions)), list(map(str, labels)), theirs.args)


def main():
    table = np.array(LABEL_ID_OF_TRAIN_ID, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, (label, predicted) in enumerate(made_up()):
            pair = Path(folder) / f"p{number}.png", Path(folder) / f"l{number}.png"
            Image.fromarray(table[predicted]).save(pair[0])
            Image.fromarray(label).save(pair[1])
            files.append(pair)
        found = their_result(*zip(*files, strict=True))
    for name, value in (*found["classScores"].items(), ("mean", found["averageScoreClasses"])):
        print(f'    "{name}": {value!r},', file=sys.stdout)


if __name__ == "__main__":
    main()
