"""From a checkpoint to verified weights: recognition, conversion, proof, account, command."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from common.errors import ConversionError, UserError
from convert import convert_checkpoint, convert_state, file
from convert.formats.table import PDPARAMS
from convert.nets.recognise import Recognised, recognise
from convert.plan import plan
from convert.plan.account import value_of
from convert.verify import compare, outputs
from tests import nursery
from tests.paths import MANIFESTS

torch = pytest.importorskip("torch")
paddle = pytest.importorskip("paddle")

LEGACY = {"_use_new_zipfile_serialization": False}


def seeded_state(name, **options):
    from torch_ref.seeded import build_seeded

    return build_seeded(name, **options).state_dict()


@pytest.fixture(scope="module")
def seg_state():
    return seeded_state("stdc1_seg")


@pytest.fixture(scope="module")
def cls_state():
    """With 1024 classes both of its Linear layers are square."""
    return seeded_state("stdc1_cls", num_classes=1024)


@pytest.fixture(scope="module")
def seg_file(seg_state, tmp_path_factory):
    path = tmp_path_factory.mktemp("seg") / "model_maxmIOU50.pth"
    torch.save(seg_state, path)
    return path


def save(path, value, **options):
    torch.save(value, path, **options)
    return path


def shapes_in(manifest):
    text = (MANIFESTS / f"{manifest}.json").read_text(encoding="utf-8")
    return {key: tuple(shape) for key, shape, _ in json.loads(text)["state_dict"]}


def lazy(name, **options):
    import paddle_impl

    with paddle.LazyGuard():
        return paddle_impl.build_model(name, **options)


class TestRecognition:
    @pytest.mark.parametrize(
        ("manifest", "row", "options"),
        [
            ("stdc1_cls_official", "stdc1_cls", {"num_classes": 1000}),
            ("stdc2_cls_official", "stdc2_cls", {"num_classes": 1000}),
            *(
                (f"{net}_official{end}", net, {"num_classes": 19, "head_norm": norm})
                for net in ("stdc1_seg", "stdc2_seg")
                for end, norm in (("", "inplace_abn"), ("_plainbn", "bn"))
            ),
        ],
    )
    def test_the_authors_files(self, manifest, row, options):
        assert recognise(shapes_in(manifest)) == Recognised(row, options)

    @pytest.mark.parametrize("gone", ["x", "features"])
    def test_either_of_the_two_names_is_enough(self, gone):
        shapes = {
            k: s for k, s in shapes_in("stdc1_cls_official").items() if k[: len(gone)] != gone
        }
        assert recognise(shapes).row == "stdc1_cls"

    def test_number_of_classes_is_read_from_the_head(self):
        shapes = shapes_in("stdc1_seg_official")
        for head in ("conv_out", "conv_out16", "conv_out32"):
            shapes[f"{head}.conv_out.weight"] = (7, *shapes[f"{head}.conv_out.weight"][1:])
        assert recognise(shapes).options["num_classes"] == 7
        assert recognise(shapes, num_classes=7)
        with pytest.raises(ConversionError, match="has 7 classes, asked for were 19"):
            recognise(shapes, num_classes=19)

    def test_no_net_fits_and_the_nearest_is_named(self):
        shapes = shapes_in("stdc2_seg_official")
        shapes["cp.arm16.conv.convv.weight"] = shapes.pop("cp.arm16.conv.conv.weight")
        with pytest.raises(ConversionError) as caught:
            recognise(shapes)
        assert "Nearest is stdc2_seg (num_classes=19, head_norm='inplace_abn')" in str(caught.value)
        assert "1 absent from the file (cp.arm16.conv.conv.weight)" in str(caught.value)
        assert "1 in the file and not in the net (cp.arm16.conv.convv" in str(caught.value)

    def test_the_wrong_net_is_told_the_right_one(self):
        with pytest.raises(ConversionError, match=r"not fit stdc2_seg: it holds stdc1_seg \("):
            recognise(shapes_in("stdc1_seg_official"), "stdc2_seg")
        with pytest.raises(UserError, match="no net is called 'x'"):
            recognise(shapes_in("stdc1_seg_official"), "x")

    def test_without_any_counter_the_head_norm_is_not_guessed(self):
        for manifest, fits in (("stdc1_seg_official", False), ("stdc1_cls_official", True)):
            shapes = {k: s for k, s in shapes_in(manifest).items() if "tracked" not in k}
            if fits:
                assert recognise(shapes).row == "stdc1_cls"
                continue
            with pytest.raises(ConversionError, match="head_norm"):
                recognise(shapes)


class TestFile:
    def test_segmentation_file(self, seg_state, seg_file, tmp_path):
        output = tmp_path / "seg.pdparams"
        made = convert_checkpoint(seg_file, output, verify=True)
        net = lazy("stdc1_seg")
        assert list(made.state) == list(net.state_dict())
        written = paddle.load(str(output), return_numpy=True)
        assert list(written) == list(made.state)
        for key, array in made.state.items():
            assert np.array_equal(written[key], array)
            assert written[key].dtype == np.float32
        account = json.loads((tmp_path / "seg.pdparams.account.json").read_text())
        assert account["net"]["row"] == "stdc1_seg"
        assert account["net"]["options"]["head_norm"] == "inplace_abn"
        assert account["totals"]["alias"] == 174
        assert account["totals"]["dropped"] == 31
        assert account["totals"]["transposed"] == 2
        assert len(account["source_tensors"]) == len(seg_state)
        assert account["output"]["sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
        assert account["source"]["sha256"] == hashlib.sha256(seg_file.read_bytes()).hexdigest()
        proof = account["verification"]
        assert proof["allowed"] == outputs.INEXACT_RESIZE  # ends in bilinear resizes by 8
        assert 0 < proof["worst"] <= proof["allowed"]
        assert proof["differences"][3] < outputs.NET_OUTPUTS  # the detail head is not resized

    @pytest.mark.parametrize(
        ("wrap", "options"),
        [
            (lambda s: {"state_dict": s, "epoch": 3}, {}),
            (lambda s: {f"module.{k}": v for k, v in s.items() if k[0] != "x"}, LEGACY),
            (lambda s: {k: v for k, v in s.items() if k[:8] != "features"}, {}),
        ],
        ids=["state_dict", "module, legacy, features only", "stages only"],
    )
    def test_classification_files_come_out_the_same(self, cls_state, tmp_path, wrap, options):
        path = save(tmp_path / "STDCNet813M_73.91.tar", wrap(cls_state), **options)
        made = convert_checkpoint(path, tmp_path / "out.pdparams", verify=True)
        assert made.account.verification["allowed"] == outputs.NET_OUTPUTS
        assert np.array_equal(made.state["fc.weight"], cls_state["fc.weight"].numpy().T)
        first = cls_state["features.0.bn.running_var"].numpy()
        assert np.array_equal(made.state["features.0.bn._variance"], first)

    def test_with_the_account_the_way_back_is_byte_identical(self, cls_state, tmp_path):
        made = convert_checkpoint(save(tmp_path / "m.pth", cls_state))
        back = {}
        for row in made.account.source_tensors:
            if row.became == "dropped":
                back[row.key] = value_of(row)
            elif row.became == "alias":
                back[row.key] = back[row.to]
            else:
                array = made.state[row.to]
                back[row.key] = array.T if row.became == "transposed" else array
        assert list(back) == list(cls_state)
        for key, tensor in cls_state.items():
            assert back[key].dtype == tensor.numpy().dtype
            assert back[key].shape == tuple(tensor.shape)
            assert back[key].tobytes() == tensor.numpy().tobytes()

    def test_half_precision_keeps_its_dtype_and_is_verified(self, cls_state, tmp_path):
        halves = {k: v.bfloat16() if v.is_floating_point() else v for k, v in cls_state.items()}
        path = save(tmp_path / "m.pth", halves)
        made = convert_checkpoint(path, tmp_path / "m.pdparams", verify=True)
        assert made.state["fc.weight"].dtype == np.uint16
        loaded = paddle.load(str(tmp_path / "m.pdparams"), return_numpy=True)
        assert loaded["fc.weight"].dtype == np.uint16

    def test_verification_catches_a_square_linear_left_as_it_was(
        self, cls_state, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(plan, "TRANSPOSED", set())
        path = save(tmp_path / "m.pth", cls_state)
        assert convert_checkpoint(path)
        with pytest.raises(ConversionError, match="does not compute what the reference computes"):
            convert_checkpoint(path, tmp_path / "m.pdparams", verify=True)
        assert [entry.name for entry in tmp_path.iterdir()] == ["m.pth"]

    def test_non_finite_weights_are_named_and_not_written(self, seg_state, tmp_path):
        weight = seg_state["cp.arm16.conv.conv.weight"].clone()
        weight[0, 0, 0] = float("nan")
        path = save(tmp_path / "m.pth", seg_state | {"cp.arm16.conv.conv.weight": weight})
        with pytest.raises(ConversionError, match=r"cp\.arm16\.conv\.conv\.weight \(3 of 589824\)"):
            convert_checkpoint(path, tmp_path / "m.pdparams")
        assert [entry.name for entry in tmp_path.iterdir()] == ["m.pth"]

    @pytest.mark.parametrize("step", ["write", "verify"])
    def test_an_interrupt_leaves_nothing(self, seg_file, tmp_path, monkeypatch, step):
        def interrupt(*arguments):
            raise KeyboardInterrupt

        if step == "verify":
            monkeypatch.setattr(file, "verify", interrupt)
        else:
            row = replace(PDPARAMS, write=interrupt)
            monkeypatch.setattr(file, "output_format", lambda *asked: row)
        with pytest.raises(KeyboardInterrupt):
            convert_checkpoint(seg_file, tmp_path / "m.pdparams", verify=True)
        assert not list(tmp_path.iterdir())

    def test_existing_output_and_source_are_safe(self, seg_file, tmp_path):
        output = tmp_path / "m.pdparams"
        output.write_bytes(b"mine")
        with pytest.raises(UserError, match="--force"):
            convert_checkpoint(seg_file, output)
        with pytest.raises(UserError, match="which is read; choose another"):
            convert_checkpoint(seg_file, seg_file, force=True)
        assert output.read_bytes() == b"mine"
        convert_checkpoint(seg_file, output, force=True)
        assert output.stat().st_size > 1000

    def test_into_fills_a_part_and_lists_the_rest(self, tmp_path):
        shapes = shapes_in("stdc1_cls_official")
        path = save(tmp_path / "m.pth", {k: torch.ones(s) for k, s in shapes.items()})
        made = convert_checkpoint(path, into="stdc1_seg:cp.backbone")
        net = list(lazy("stdc1_seg").state_dict())
        assert list(made.state) == [key for key in net if key.startswith("cp.backbone.")]
        assert made.account.left_at_initialisation == [k for k in net if k not in made.state]
        assert made.account.totals["left at initialisation"] == len(net) - len(made.state)
        with pytest.raises(ConversionError, match="fits into: stdc1_seg:cp"):
            convert_checkpoint(path, into="stdc2_seg:cp.backbone")
        with pytest.raises(UserError, match="there are: stdc1_seg:cp"):
            convert_checkpoint(path, into="stdc1_seg:cp")

    def test_verification_leaves_global_settings_alone(self, seg_file):
        before = torch.random.get_rng_state(), torch.get_num_threads()
        paddle.seed(5)
        expected = paddle.rand([3]).numpy()
        paddle.seed(5)
        convert_checkpoint(seg_file, verify=True)
        assert paddle.get_default_dtype() == "float32"
        assert np.array_equal(paddle.rand([3]).numpy(), expected)
        assert torch.equal(torch.random.get_rng_state(), before[0])
        assert torch.get_num_threads() == before[1]


class TestLayer:
    def test_a_layer_of_the_table_brings_its_rules(self, seg_file):
        made = convert_checkpoint(seg_file, model=lazy("stdc1_seg"))
        assert made.account.totals["alias"] == 174
        with pytest.raises(ConversionError, match="set num_classes=19"):
            convert_checkpoint(seg_file, model=lazy("stdc1_seg", num_classes=21))

    def test_the_rules_of_a_row_touch_no_other_net(self, seg_file):
        net = lazy("stdc1_seg")
        del net.pair_name
        with pytest.raises(ConversionError, match="174 of the file's unknown"):
            convert_checkpoint(seg_file, model=net)
        assert convert_checkpoint(seg_file, model=net, rules="stdc")

    def test_head_norms_of_the_other_kind_are_an_error(self, seg_state):
        arrays = {key: tensor.numpy() for key, tensor in seg_state.items()}
        with pytest.raises(ConversionError, match=r'cp\.arm16.*head_norm="inplace_abn"'):
            convert_state(arrays, lazy("stdc1_seg", head_norm="bn"))
        counters = {
            key.replace("running_mean", "num_batches_tracked"): np.array(7)
            for key in arrays
            if key.endswith("running_mean") and "backbone" not in key
        }
        with pytest.raises(ConversionError, match=r'cp\.arm16.*head_norm="bn"'):
            convert_state(arrays | counters, lazy("stdc1_seg"))
        assert convert_state(arrays | counters, lazy("stdc1_seg", head_norm="bn"))

    def test_a_strangers_net_computes_the_same(self):
        ours = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 1, bias=True),
            torch.nn.BatchNorm2d(4),
            torch.nn.PReLU(4),
            torch.nn.InstanceNorm2d(4, affine=True),
            torch.nn.Flatten(),
            torch.nn.Linear(16, 16),
        ).eval()
        torch.nn.init.normal_(ours[1].running_mean)
        torch.nn.init.normal_(ours[3].weight)
        theirs = paddle.nn.Sequential(
            paddle.nn.Conv2D(3, 4, 1),
            paddle.nn.BatchNorm2D(4),
            paddle.nn.PReLU(4),
            paddle.nn.InstanceNorm2D(4),
            paddle.nn.Flatten(),
            paddle.nn.Linear(16, 16),
        )
        theirs.eval()
        made = convert_state({k: v.numpy() for k, v in ours.state_dict().items()}, theirs)
        assert theirs.set_state_dict(made.state) == ([], [])
        image = np.random.default_rng(0).normal(size=(2, 3, 2, 2)).astype("f4")
        expected = ours(torch.from_numpy(image)).detach().numpy()
        assert np.allclose(theirs(paddle.to_tensor(image)).numpy(), expected, atol=1e-6)

    def test_only_nets_of_the_table_can_be_verified(self, tmp_path):
        path = save(tmp_path / "m.pth", torch.nn.Linear(2, 3).state_dict())
        layer = paddle.nn.Linear(2, 3)
        assert convert_checkpoint(path, model=layer).account.net["layer"] == "Linear"
        with pytest.raises(UserError, match="align_forward"):
            convert_checkpoint(path, model=layer, verify=True)


def test_describe_names_the_same_roles_on_both_sides():
    from convert.nets import describe_paddle, describe_torch

    one, other = torch.nn.ModuleDict(), paddle.nn.LayerDict()
    one["bn"], other["bn"] = torch.nn.BatchNorm1d(3), paddle.nn.BatchNorm1D(3)
    one["fc"], other["fc"] = torch.nn.Linear(3, 2), paddle.nn.Linear(3, 2)
    one["again"], other["again"] = one["fc"], other["fc"]  # shared: under each of its names
    ours = {spec.key: spec for spec in describe_torch.describe(one)}
    theirs = {spec.torch_key: spec for spec in describe_paddle.describe(other)}
    assert set(ours) - set(theirs) == {"bn.num_batches_tracked"}
    assert {"fc.weight", "again.weight", "bn.running_var"} < set(theirs)
    for key, spec in theirs.items():
        assert (spec.kind, spec.role) == (ours[key].kind, ours[key].role)
    assert theirs["again.weight"].shape == (3, 2)
    assert describe_paddle.describe(other["bn"])[0].key == "weight"


class TestJudge:
    NET = Recognised("stdc1_seg", {})

    @pytest.mark.parametrize(
        ("expected", "got"),
        [
            ([1.0, np.nan], [1.0, np.nan]),
            ([1.0, np.inf], [1.0, np.inf]),
            ([1.0, 2.0], [1.0, 2.0 + 1e-8]),
            ([0.0, 0.0], [0.0, 1e-30]),
            ([1.0], [1.0, 1.0]),
        ],
    )
    def test_not_equal(self, expected, got):
        with pytest.raises(ConversionError, match="output 0"):
            compare.judge(self.NET, [np.array(expected)], [np.array(got)], 1e-9)

    def test_equal(self):
        ones = np.ones((2, 3))
        assert compare.judge(self.NET, [ones], [ones + 1e-12], 1e-9).worst == pytest.approx(
            1e-12, 0.1
        )
        with pytest.raises(ConversionError, match="1 outputs, Paddle's net 2"):
            compare.judge(self.NET, [ones], [ones, ones], 1e-9)


@pytest.mark.parametrize(
    ("options", "inexact"),
    [
        ({"size": (64, 96), "mode": "bilinear", "align_corners": True}, True),
        ({"size": (64, 96), "mode": "bilinear", "align_corners": False}, False),
        ({"size": (10, 12), "mode": "bilinear", "align_corners": False}, True),
        ({"size": (8, 12), "mode": "bilinear", "align_corners": True}, False),
        ({"scale_factor": 1.7, "mode": "bicubic"}, True),
        ({"scale_factor": 2, "mode": "bilinear"}, False),
        ({"size": (63, 95), "mode": "nearest"}, False),
    ],
)
def test_resizes_that_float32_cannot_hold_are_noticed(options, inexact):
    from convert.verify.run_torch import InexactResizes

    with InexactResizes() as resizes:
        torch.nn.functional.interpolate(torch.zeros(1, 1, 8, 12), **options)
    assert resizes.found is inexact


class TestCommand:
    def run(self, folder, *arguments):
        return nursery.run("convert_weights", *arguments, cwd=folder)

    def test_from_another_folder(self, seg_file):
        done = self.run(seg_file.parent, seg_file.name)
        assert done.returncode == 0, done.stderr
        output = seg_file.with_suffix(".pdparams")
        digest = hashlib.sha256(output.read_bytes()).hexdigest()
        for said in ("stdc1_seg", "head_norm=inplace_abn", "174", "31", "verified", digest):
            assert said in done.stdout
        assert output.with_name(f"{output.name}.account.json").exists()
        done = self.run(seg_file.parent, seg_file.name, "--force", "--json", "--no-verify")
        assert json.loads(done.stdout)["totals"]["renamed"] == 92
        assert json.loads(done.stdout)["verification"] == {}

    @pytest.mark.parametrize(
        ("content", "arguments", "code", "said"),
        [
            (b"not a checkpoint", (), 2, "text file"),
            (None, ("--num-classes", "21"), 1, "has 19 classes"),
        ],
    )
    def test_bad_input_is_one_message_and_no_file(
        self, seg_file, tmp_path, content, arguments, code, said
    ):
        path = tmp_path / "model.pth"
        path.write_bytes(content) if content else path.symlink_to(seg_file)
        done = self.run(tmp_path, "model.pth", *arguments)
        assert (done.returncode, done.stdout) == (code, "")
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert [entry.name for entry in tmp_path.iterdir()] == ["model.pth"]
