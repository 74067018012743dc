"""The scores of a pass over Cityscapes files are those of Cityscapes' own scripts.

The golden numbers were made by them (`cityscapes_server`); where they are installed they also
count the files that --save-ids writes.
"""

from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from commands.evaluate.ids import AlsoSeen, IdFiles
from commands.evaluate.scores import counts_of, scores_of
from common.data import Cityscapes, SegmentationDataset, plan_validation, read_batches
from common.errors import UserError
from common.evaluation.evaluate import evaluate
from common.evaluation.semantic import SemanticEvaluator
from common.settings.run import Evaluate
from tests.commands.evaluate.cityscapes_server import made_up, their_result

# cityscapesScripts 2.3.0, evalPixelLevelSemanticLabeling, on `made_up()`.
GOLDEN = {
    "road": 0.3656716417910448,
    "sidewalk": 0.3125,
    "building": 0.36,
    "wall": 0.4444444444444444,
    "fence": 0.39655172413793105,
    "pole": 0.33620689655172414,
    "traffic light": 0.375,
    "traffic sign": 0.33043478260869563,
    "vegetation": 0.42857142857142855,
    "terrain": 0.30327868852459017,
    "sky": 0.3937007874015748,
    "person": 0.3089430894308943,
    "rider": 0.3,
    "car": 0.2898550724637681,
    "truck": 0.3188405797101449,
    "bus": 0.37142857142857144,
    "train": 0.3853211009174312,
    "motorcycle": 0.3916083916083916,
    "bicycle": 0.40310077519379844,
}
GOLDEN_MEAN = 0.3587083144623386


class Told:
    """Predicts what it was told, frame by frame."""

    def __init__(self, predictions):
        self.left = list(predictions)

    def predict(self, image, options):
        return np.stack([self.left.pop(0).astype(np.int64) for _ in image])


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Scores of `made_up`, laid out as Cityscapes; the folders of labels and of written ids."""
    root = tmp_path_factory.mktemp("cityscapes")
    for number, (label, _) in enumerate(made_up()):
        name = f"town_{number:06d}_000019"
        for kind, image in (
            ("leftImg8bit", np.zeros((*label.shape, 3), np.uint8)),
            ("gtFine", label),
        ):
            folder = root / kind / "val" / "town"
            folder.mkdir(parents=True, exist_ok=True)
            suffix = "leftImg8bit" if kind == "leftImg8bit" else "gtFine_labelIds"
            Image.fromarray(image).save(folder / f"{name}_{suffix}.png")
    source = Cityscapes(root, "val")
    dataset = SegmentationDataset(source)
    evaluator = SemanticEvaluator(source.class_names, absent="skip")
    files = IdFiles(root / "ids", dataset)
    batches = read_batches(dataset, plan_validation(3, 2))
    told = Told(predicted for _, predicted in made_up())
    evaluate(told, batches, AlsoSeen(evaluator, files.add), options=Evaluate())
    scores = scores_of(counts_of(evaluator), source.class_names, "skip")
    return scores, sorted((root / "gtFine").rglob("*.png")), root / "ids", dataset


def test_scores_are_the_golden_ones(scored):
    scores = scored[0]
    assert scores["iou"] == GOLDEN
    assert scores["mean_iou"] == pytest.approx(GOLDEN_MEAN, abs=1e-15)


def test_written_ids_are_label_ids_under_the_frames_names(scored):
    _, labels, folder, dataset = scored
    written = sorted(folder.glob("*.png"))
    names = [path.name.replace("_gtFine_labelIds", "") for path in labels]
    assert [path.name for path in written] == names
    table = np.array([*dataset.source.submitted[:19]])
    for path, (_, predicted) in zip(written, made_up(), strict=True):
        image = Image.open(path)
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), table[predicted])
    with pytest.raises(UserError, match="--force"):
        IdFiles(folder, dataset)


@pytest.mark.skipif(not find_spec("cityscapesscripts"), reason="cityscapesscripts is not installed")
def test_their_scripts_count_the_written_files_to_the_same(scored):
    scores, labels, folder, _ = scored
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as theirs

    theirs.args.predictionWalk, theirs.args.predictionPath = None, str(folder)
    found = [theirs.getPrediction(theirs.args, str(label)) for label in labels]  # by their names
    result = their_result(found, labels)
    ours = {name: value for name, value in scores["iou"].items() if value is not None}
    assert {n: v for n, v in result["classScores"].items() if not np.isnan(v)} == ours
    assert result["averageScoreClasses"] == pytest.approx(scores["mean_iou"], abs=1e-15)
    kept = [*range(7, 9), *range(11, 14), 17, *range(19, 29), *range(31, 34)]
    theirs_counts = np.array(result["confMatrix"])[np.ix_(kept, kept)]
    assert theirs_counts.tolist() == scores["confusion"]
