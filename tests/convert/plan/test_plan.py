"""The plan of every tensor's move, on arrays alone: no framework is needed here."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConversionError
from convert.names.rules import Alias, Drop, Rename, Reshape, Rules
from convert.names.spec import TensorSpec
from convert.plan.account import draw_up, value_of
from convert.plan.plan import COUNTER_REASON, check_aliases, describe_arrays, plan_moves

PADDLE_NAMES = {"running_mean": "_mean", "running_var": "_variance"}
NONE = Rules()


def layer(path, kind, width=3, inner=3):
    """Return (torch's arrays, Paddle's specs) of one layer."""
    rng = np.random.default_rng(abs(hash((path, kind))) % 2**32)
    shapes = {
        "Linear": {"weight": (width, inner), "bias": (width,)},
        "Conv": {"weight": (width, inner, 1, 1)},
        "Embedding": {"weight": (width, inner)},
        "Parameter": {"weight": (width, inner)},
    }.get(kind, dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (width,)))
    arrays = {f"{path}.{role}": rng.normal(size=s).astype("f4") for role, s in shapes.items()}
    specs = [
        TensorSpec(
            f"{path}.{PADDLE_NAMES.get(role, role)}",
            shape[::-1] if (kind, role) == ("Linear", "weight") else shape,
            "float32",
            kind,
            role,
        )
        for role, shape in shapes.items()
    ]
    if kind == "BatchNorm":
        arrays[f"{path}.num_batches_tracked"] = np.array(7, "i8")
    return arrays, specs


def net(*layers):
    arrays, specs = {}, []
    for path, kind in layers:
        more, others = layer(path, kind)
        arrays |= more
        specs += others
    return arrays, specs


def plan(arrays, specs, rules=NONE, **options):
    return plan_moves(describe_arrays(arrays), specs, rules, **options)


def test_kind_of_layer_decides_the_transpose_not_the_shape():
    arrays, specs = net(("fc", "Linear"), ("table", "Embedding"), ("w", "Parameter"))
    state = dict(plan(arrays, specs).apply(arrays))
    assert np.array_equal(state["fc.weight"], arrays["fc.weight"].T)
    assert not np.array_equal(state["fc.weight"], arrays["fc.weight"])
    assert np.array_equal(state["table.weight"], arrays["table.weight"])
    assert np.array_equal(state["w.weight"], arrays["w.weight"])


def test_batch_norm_statistics_are_renamed_and_the_counter_dropped_with_its_value():
    arrays, specs = net(("bn", "BatchNorm"))
    made = plan(arrays, specs)
    assert dict(made.apply(arrays))["bn._mean"] is not None
    assert {m.target.key: (m.source, m.change) for m in made.moves}["bn._variance"] == (
        "bn.running_var",
        "renamed",
    )
    assert made.dropped == {"bn.num_batches_tracked": COUNTER_REASON}
    account = draw_up(made, arrays)
    row = next(row for row in account.source_tensors if row.became == "dropped")
    assert value_of(row) == 7
    assert value_of(row).dtype == np.int64
    assert value_of(row).shape == ()


def test_order_of_the_state_is_the_targets():
    arrays, specs = net(("a", "Linear"), ("b", "BatchNorm"), ("c", "Conv"))
    state = dict(plan(dict(reversed(arrays.items())), specs).apply(arrays))
    assert list(state) == [spec.key for spec in specs]


def test_bfloat16_travels_as_its_bits_and_float64_as_itself():
    arrays, specs = net(("fc", "Linear"))
    halves = {key: array.astype(ml_dtypes.bfloat16) for key, array in arrays.items()}
    state = dict(plan(halves, specs).apply(halves))
    assert state["fc.weight"].dtype == np.uint16
    back = state["fc.weight"].view(ml_dtypes.bfloat16)
    assert np.array_equal(back, halves["fc.weight"].T)
    doubles = {key: array.astype("f8") for key, array in arrays.items()}
    assert dict(plan(doubles, specs).apply(doubles))["fc.bias"].dtype == np.float64


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "uint16", "int64"])
def test_dtypes_that_paddle_would_lose_or_confuse_are_refused(dtype):
    arrays, specs = net(("fc", "Linear"))
    arrays["fc.bias"] = arrays["fc.bias"].astype(getattr(ml_dtypes, dtype, None) or dtype)
    with pytest.raises(ConversionError, match=rf"fc\.bias.*{dtype}"):
        plan(arrays, specs)


def test_several_problems_come_in_one_message_with_the_nearest_candidate():
    arrays, specs = net(("head", "Conv"), ("neck", "Conv"))
    arrays["head.weight"] = np.zeros((19, 3, 1, 1), "f4")
    arrays["nekc.weight"] = arrays.pop("neck.weight")
    with pytest.raises(ConversionError) as caught:
        plan(arrays, specs, classes_key="head.weight")
    text = str(caught.value)
    assert "head.weight: Paddle has (3, 3, 1, 1), file has (19, 3, 1, 1)" in text
    assert "set num_classes=19" in text
    assert "neck.weight (3, 3, 1, 1): nothing in the file fills it" in text
    assert "nearest in the file: nekc.weight (3, 3, 1, 1)" in text


def test_the_nearest_candidate_is_of_the_same_role():
    arrays, specs = net(("neck", "Linear"))
    arrays["nekc.weight"] = arrays.pop("neck.bias")
    with pytest.raises(ConversionError) as caught:
        plan(arrays, specs)
    assert "neck.bias (3,): nothing in the file fills it\n" in str(caught.value)
    assert caught.value.names_differ


def test_what_one_side_alone_has_is_said_with_the_next_step():
    arrays, specs = net(("head", "Conv"), ("neck", "Conv"))
    with pytest.raises(ConversionError, match=r"The net lacks these layers.* `drops`") as caught:
        plan(arrays, specs[:1])
    assert not caught.value.names_differ
    del arrays["neck.weight"]
    with pytest.raises(ConversionError, match=r"The file lacks these layers.* `absent`"):
        plan(arrays, specs)


def test_a_bias_of_one_side_is_said_as_the_setting_that_it_is():
    arrays, specs = net(("head", "Linear"))
    bias = arrays.pop("head.bias")
    with pytest.raises(ConversionError, match=r"without a bias: write bias_attr=False"):
        plan(arrays, specs)
    with pytest.raises(ConversionError, match=r"take bias_attr=False out.* `drops`"):
        plan({**arrays, "head.bias": bias}, specs[:1])


@pytest.mark.parametrize("kind", ["Conv", "Linear"])
def test_the_number_of_classes_is_told_where_that_may_be_all(kind):
    arrays, specs = net(("head", kind))
    for key, array in arrays.items():
        arrays[key] = np.zeros((5, *array.shape[1:]), "f4")
    with pytest.raises(ConversionError, match="is that the number of classes") as caught:
        plan(arrays, specs)
    assert caught.value.classes == 5


def test_a_long_list_of_problems_is_capped_but_counted():
    arrays, specs = net(*((f"layer{i}", "Conv") for i in range(50)))
    with pytest.raises(ConversionError) as caught:
        plan({}, specs)
    assert len(str(caught.value).splitlines()) < 15
    assert "50 of its tensors unfilled" in str(caught.value)
    assert "and 42 more" in str(caught.value)
    assert arrays


def test_transposed_shapes_are_said_in_both_layouts():
    arrays, specs = net(("fc", "Linear"))
    arrays["fc.weight"] = np.zeros((5, 3), "f4")
    with pytest.raises(ConversionError, match=r"\(5, 3\), which is \(3, 5\) transposed"):
        plan(arrays, specs)


class TestBatchCounters:
    """They alone tell a plain BatchNorm from InPlaceABN, whose weight means another scale."""

    def test_counter_where_the_net_has_in_place_norm(self):
        arrays, specs = net(("backbone", "BatchNorm"), ("head", "InPlaceABN"))
        assert plan(arrays, specs)
        arrays["head.num_batches_tracked"] = np.array(7)
        with pytest.raises(ConversionError, match=r'head: .*head_norm="bn"'):
            plan(arrays, specs)

    def test_no_counter_where_the_net_has_plain_norm_and_others_have_one(self):
        arrays, specs = net(("backbone", "BatchNorm"), ("head", "BatchNorm"))
        del arrays["head.num_batches_tracked"]
        with pytest.raises(ConversionError, match=r'head: .*head_norm="inplace_abn"'):
            plan(arrays, specs)

    def test_a_file_without_any_is_taken_only_where_it_cannot_be_meant_either_way(self):
        arrays, specs = net(("a", "BatchNorm"), ("b", "BatchNorm"))
        old = {key: array for key, array in arrays.items() if "tracked" not in key}
        assert len(plan(old, specs).moves) == 8
        with pytest.raises(ConversionError, match="no batch counter"):
            plan(old, specs, counters_decide=True)
        arrays, specs = net(("a", "BatchNorm"), ("b", "InPlaceABN"))
        old = {key: array for key, array in arrays.items() if "tracked" not in key}
        with pytest.raises(ConversionError, match="no batch counter"):
            plan(old, specs)

    def test_counter_of_anything_else_is_unaccounted_for(self):
        arrays, specs = net(("fc", "Linear"))
        arrays["fc.num_batches_tracked"] = np.array(7)
        with pytest.raises(ConversionError, match=r"fc\.num_batches_tracked"):
            plan(arrays, specs)


class TestAliases:
    RULES = Rules(aliases=(Alias(match=r"(^|\.)x2\.0\.", to=r"\1features."),))

    def test_equal_second_name_is_accounted_for(self):
        arrays, specs = net(("features.0", "Conv"))
        arrays["x2.0.0.weight"] = arrays["features.0.weight"].copy()
        made = plan(arrays, specs, self.RULES)
        check_aliases(made, arrays)
        assert made.aliases == {"x2.0.0.weight": "features.0.weight"}
        assert len(made.moves) == 1

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda a: np.where(np.arange(a.size).reshape(a.shape) == 4, -a, a),
            lambda a: a.astype("f8"),
            lambda a: a.reshape(9, 1, 1, 1),
        ],
    )
    def test_any_difference_is_an_error_that_names_both(self, spoil):
        arrays, specs = net(("features.0", "Conv"))
        arrays["x2.0.0.weight"] = spoil(arrays["features.0.weight"])
        made = plan(arrays, specs, self.RULES)
        with pytest.raises(ConversionError, match=r"x2\.0\.0\.weight and features\.0\.weight"):
            check_aliases(made, arrays)

    def test_the_second_name_stands_in_for_an_absent_first(self):
        arrays, specs = net(("features.0", "Conv"))
        arrays = {"x2.0.0.weight": arrays["features.0.weight"]}
        made = plan(arrays, specs, self.RULES)
        assert [(m.source, m.change) for m in made.moves] == [("x2.0.0.weight", "renamed")]

    def test_nan_equals_itself_and_minus_zero_is_not_zero(self):
        arrays, specs = net(("features.0", "Conv"))
        arrays["features.0.weight"][0] = np.nan
        arrays["x2.0.0.weight"] = arrays["features.0.weight"].copy()
        made = plan(arrays, specs, self.RULES)
        check_aliases(made, arrays)
        arrays["features.0.weight"][1], arrays["x2.0.0.weight"][1] = 0.0, -0.0
        with pytest.raises(ConversionError):
            check_aliases(made, arrays)


def test_renames_drops_and_clashes():
    arrays, specs = net(("head", "Conv"))
    file = {"old.head.weight": arrays["head.weight"], "aux.weight": np.zeros(2, "f4")}
    drops = (Drop(match=r"^aux\.", reason="training only"),)
    rules = Rules(renames=(Rename(match=r"^old\.", to=""),), drops=drops)
    made = plan(file, specs, rules)
    assert made.dropped == {"aux.weight": "training only"}
    assert made.moves[0].source == "old.head.weight"
    with pytest.raises(ConversionError, match=r"head\.weight and old\.head\.weight both become"):
        plan(arrays | file, specs, rules)


def test_prefix_places_the_file_inside_a_larger_net():
    arrays, specs = net(("bn", "BatchNorm"), ("fc", "Linear"))
    placed = [TensorSpec(f"cp.{s.key}", s.shape, s.dtype, s.kind, s.role) for s in specs]
    made = plan(arrays, placed, prefix="cp.")
    assert [m.target.key for m in made.moves] == [s.key for s in placed]
    assert set(made.dropped) == {"bn.num_batches_tracked"}


KINDS = st.sampled_from(["Linear", "Conv", "Embedding", "BatchNorm", "InPlaceABN", "Parameter"])
LAYERS = st.dictionaries(st.from_regex(r"[a-d](\.[0-3]){0,2}x", fullmatch=True), KINDS, max_size=6)


@settings(max_examples=75, deadline=None)
@given(LAYERS, st.lists(st.tuples(st.sampled_from("+-~"), st.integers(0, 99)), max_size=2))
def test_nothing_is_ever_unaccounted_for(layers, faults):
    """Either an error, or every tensor of both sides has exactly one row and the right value."""
    arrays, specs = net(*layers.items())
    has_norms = "InPlaceABN" in layers.values() and "BatchNorm" not in layers.values()
    touched = False
    for fault, place in faults:
        keys = [key for key in arrays if not key.startswith(("extra", "moved"))]
        keys = [key for key in keys if not key.endswith("tracked")]
        if fault == "+":
            arrays[f"extra{place}"] = np.zeros(3, "f4")
        elif keys and fault == "-":
            del arrays[keys[place % len(keys)]]
        elif keys:
            arrays[f"moved{place}"] = arrays.pop(keys[place % len(keys)])
        touched |= fault == "+" or bool(keys)
    if touched or has_norms:
        with pytest.raises(ConversionError):
            plan(arrays, specs)
        return
    made = plan(arrays, specs)
    account = draw_up(made, arrays)
    assert [row.key for row in account.source_tensors] == list(arrays)
    assert [row.key for row in account.target_tensors] == [spec.key for spec in specs]
    assert sum(account.totals.values()) == len(arrays)
    state = dict(made.apply(arrays))
    for row in account.target_tensors:
        moved = arrays[row.source].T if row.change == "transposed" else arrays[row.source]
        assert np.array_equal(state[row.key], moved)
        assert state[row.key].shape == row.shape


def test_another_shape_is_taken_only_where_the_rules_say_so():
    weight = np.arange(24, dtype="f4").reshape(2, 12)
    target = [TensorSpec("fc6.weight", (2, 3, 2, 2), "float32", "Conv", "weight")]
    with pytest.raises(ConversionError, match=r"\(2, 3, 2, 2\).*\(2, 12\)"):
        plan({"fc6.weight": weight}, target)
    rules = Rules(reshapes=(Reshape(match="^fc6", shape=(2, 12)),))
    made = plan({"fc6.weight": weight}, target, rules)
    assert made.moves[0].change == "reshaped"
    assert np.array_equal(
        dict(made.apply({"fc6.weight": weight}))["fc6.weight"], weight.reshape(2, 3, 2, 2)
    )
    with pytest.raises(ConversionError):
        plan({"fc6.weight": weight.reshape(4, 6)}, target, rules)
