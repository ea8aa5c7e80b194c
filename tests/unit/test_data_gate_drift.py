"""Distances between rows, against an independent computation, and where the served rows' statistics come from."""

import json

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from scipy.spatial.distance import jensenshannon
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.data_gate import DEFAULT_THRESHOLD, STATISTICS_FILE
from components.data_gate.distances import find_high, measure_distances
from components.data_gate.drift import DriftError, compare_with_served, served_statistics
from components.model_manifest import MANIFEST_FILE
from components.pusher.object_store import push_to_object_store
from components.pusher.push import push_model
from components.pusher.versions import assign_label

SCHEMA = text_format.Parse(
    'feature { name: "x" type: FLOAT } feature { name: "n" type: INT } '
    'feature { name: "c" type: INT int_domain { is_categorical: true } }',
    schema_pb2.Schema(),
)
SETTINGS = {"severity": "warn", "threshold": DEFAULT_THRESHOLD, "thresholds": {}}


def statistics_of(**columns):
    arrays = {
        name: pa.array([[value] for value in values], pa.list_(pa.float32() if name == "x" else pa.int64()))
        for name, values in columns.items()
    }
    options = tfdv.StatsOptions(schema=SCHEMA)
    return stats_impl.generate_statistics_in_memory(pa.RecordBatch.from_pydict(arrays), options)


def measure(ours, theirs, names, *, comparison="drift", **settings):
    return measure_distances(ours, theirs, names, comparison=comparison, settings=SETTINGS | settings)


def deciles(statistics):
    (feature,) = statistics.datasets[0].features
    (histogram,) = (h for h in feature.num_stats.histograms if h.type == statistics_pb2.Histogram.QUANTILES)
    return histogram.buckets


def masses(buckets, edges):
    """Spreads each bucket evenly over what lies between edges; a bucket of one value is a point of its own."""
    between, points = np.zeros(len(edges) - 1), np.zeros(len(edges))
    for bucket in buckets:
        first, last = np.searchsorted(edges, [bucket.low_value, bucket.high_value])
        if first == last:
            points[first] += bucket.sample_count
        else:
            widths = np.diff(edges[first : last + 1])
            between[first:last] += bucket.sample_count * widths / widths.sum()
    both = np.concatenate([between, points])
    return both / both.sum()


@pytest.mark.parametrize("comparison", ["drift", "skew"])
@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 20.0])
def test_distance_of_numbers_is_the_jensen_shannon_divergence_of_their_deciles(shift, comparison):
    random = np.random.default_rng(5)
    ours, theirs = (statistics_of(x=random.normal(size=700) + by) for by in (0.0, shift))
    edges = np.unique([edge for each in (ours, theirs) for b in deciles(each) for edge in (b.low_value, b.high_value)])
    expected = jensenshannon(*(masses(deciles(each), edges) for each in (ours, theirs)), base=2) ** 2
    (distance,) = measure(ours, theirs, ["x"], comparison=comparison)
    assert distance.measure == "jensen_shannon"
    np.testing.assert_allclose(distance.value, expected, rtol=1e-9)
    assert (distance.value > 0.9) == (shift == 20.0)


@pytest.mark.parametrize("comparison", ["drift", "skew"])
def test_distance_of_categories_is_the_largest_difference_of_their_shares(comparison):
    random = np.random.default_rng(6)
    ours, theirs = (random.choice(5, size=700, p=p) for p in ([0.2] * 5, [0.1, 0.4, 0.2, 0.2, 0.1]))
    expected = np.abs(np.bincount(ours, minlength=5) - np.bincount(theirs, minlength=5)).max() / 700
    (distance,) = measure(statistics_of(c=ours), statistics_of(c=theirs), ["c"], comparison=comparison)
    assert distance.measure == "l_infinity"
    np.testing.assert_allclose(distance.value, expected, rtol=1e-9)
    assert expected > 0.1


def test_default_threshold_passes_other_rows_of_the_same_kind_and_finds_a_shift(reference_csv):
    rows = np.genfromtxt(reference_csv, delimiter=",", names=True)
    random = np.random.default_rng(7)
    for name in rows.dtype.names[:-1]:
        column = rows[name]
        one, other = (random.choice(column, 676) for _ in range(2))
        (same,) = measure(statistics_of(x=one), statistics_of(x=other), ["x"])
        (shifted,) = measure(statistics_of(x=one + column.std()), statistics_of(x=other), ["x"])
        assert same.value < DEFAULT_THRESHOLD / 2, name
        assert shifted.value > DEFAULT_THRESHOLD, name
        assert (same.is_high, shifted.is_high) == (False, True)


def test_outlier_alone_is_no_drift():
    random = np.random.default_rng(8)
    one, other = random.normal(size=700), random.normal(size=700)
    other[0] = 1e6
    (distance,) = measure(statistics_of(x=one), statistics_of(x=other), ["x"])
    assert distance.value < DEFAULT_THRESHOLD


def test_equal_rows_are_at_no_distance():
    rows = statistics_of(x=np.arange(100.0), n=np.arange(100), c=np.arange(100) % 3)
    assert [each.value for each in measure(rows, rows, ["x", "n", "c"])] == [0.0, 0.0, 0.0]


def test_largest_distance_comes_first_and_has_the_threshold_of_its_feature():
    ours = statistics_of(x=np.arange(100.0), n=np.arange(100), c=[0] * 100)
    theirs = statistics_of(x=np.arange(100.0) + 10, n=np.arange(100) + 200, c=[0] * 100)
    distances = measure(ours, theirs, ["c", "x", "n"], thresholds={"n": 1.0})
    assert [each.feature for each in distances] == ["n", "x", "c"]
    assert [each.threshold for each in distances] == [1.0, DEFAULT_THRESHOLD, DEFAULT_THRESHOLD]
    assert not distances[0].is_high  # at most 1.0
    assert find_high(distances, severity="fail", against="them") == []


@pytest.mark.parametrize(
    ("ours", "theirs", "note"),
    [
        ({"x": [1.0]}, {"n": [1]}, "is not in what it is compared with"),
        ({"n": [1]}, {"x": [1.0]}, "is not in the rows to train on"),
        ({"x": [float("nan")] * 9}, {"x": [1.0]}, "has no values"),
        ({"x": [1.0]}, {"x": [float("nan")] * 9}, "has no values in what it is compared with"),
    ],
)
def test_feature_without_a_distance_says_why(ours, theirs, note):
    (distance,) = measure(statistics_of(**ours), statistics_of(**theirs), ["x"])
    assert (distance.value, distance.note, distance.is_high) == (None, note, False)


def test_numbers_are_not_compared_with_categories():
    theirs = statistics_of(c=[1, 2, 3])
    theirs.datasets[0].features[0].path.step[:] = ["n"]
    (distance,) = measure(statistics_of(n=[1, 2, 3]), theirs, ["n"])
    assert (distance.value, distance.note) == (None, "is numeric here and categorical in what it is compared with")


def test_infinite_values_leave_a_finite_distance():
    random = np.random.default_rng(9)
    one = random.normal(size=700)
    for other in ([*one, np.inf], [*one, -np.inf]):
        (distance,) = measure(statistics_of(x=one), statistics_of(x=other), ["x"])
        assert 0 < distance.value < DEFAULT_THRESHOLD


@pytest.fixture
def served(make_model, tmp_path):
    """Pushes a version with statistics of a column, or with none; returns its number."""

    def push(name, column=None):
        companions = {} if column is None else {STATISTICS_FILE: statistics_of(x=column).SerializeToString()}
        model = make_model(name, content=name)
        return push_model(str(model), str(tmp_path / "models"), facts={}, companions=companions).version

    push.base = tmp_path / "models"
    return push


def compare(base, column, severity="warn"):
    settings = SETTINGS | {"severity": severity}
    return compare_with_served(statistics_of(x=column), ["x"], serving_model_dir=str(base), settings=settings)


@pytest.mark.parametrize("severity", ["warn", "fail"])
def test_drift_from_the_served_version_is_told(served, severity):
    version = served("model", np.arange(700.0))
    comparison, (found,) = compare(served.base, np.arange(700.0) + 400, severity)
    assert comparison.against == f"version {version}"
    (distance,) = comparison.distances
    assert (found.severity, found.feature, found.value) == (severity, "x", distance.value)
    assert found.sentence == (
        f"'x' in the train split: Jensen-Shannon divergence {distance.value:.3f} from what version {version} was "
        "trained on, above 0.15 (COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH)"
    )
    assert compare(served.base, np.arange(700.0) + 1)[1] == []


def test_promoted_version_is_the_one_to_compare_with(served):
    first = served("first", np.arange(100.0))
    second = served("second", np.arange(100.0) + 1000)
    assert served_statistics(str(served.base)).version == second
    assign_label(served.base, first, "stable", settle_secs=0)
    comparison, found = compare(served.base, np.arange(100.0))
    assert (comparison.against, found) == (f"version {first}", [])


def test_version_0_is_a_version(served):
    (served.base / str(served("model", np.arange(100.0)))).rename(served.base / "0")
    comparison, _ = compare(served.base, np.arange(100.0))
    assert (comparison.against, len(comparison.distances)) == ("version 0", 1)


def test_nothing_served_is_no_error(tmp_path):
    comparison, found = compare(tmp_path / "models", [1.0])
    assert (comparison.against, comparison.note, found) == ("", "nothing is served yet", [])


@pytest.mark.parametrize("has_manifest", [True, False])
def test_version_without_statistics_is_no_error(served, has_manifest):
    version = served("model")
    if not has_manifest:  # as the stock Pusher leaves it
        (served.base / str(version) / MANIFEST_FILE).unlink()
    comparison, found = compare(served.base, [1.0])
    assert (comparison.against, comparison.note) == (f"version {version}", "it was pushed without statistics")
    assert found == []


def test_damaged_statistics_are_a_clear_error(served):
    file = served.base / str(served("model", [1.0])) / STATISTICS_FILE
    file.write_bytes(file.read_bytes() + b"more")
    with pytest.raises(
        DriftError, match=rf"{file.parent.name}, which is served.*: {STATISTICS_FILE} has changed since"
    ):
        served_statistics(str(served.base))
    file.unlink()
    with pytest.raises(
        DriftError, match=rf"{STATISTICS_FILE} is missing\. Promote another version, or remove this one\."
    ):
        served_statistics(str(served.base))


def test_damaged_manifest_is_a_clear_error(served):
    file = served.base / str(served("model", [1.0])) / MANIFEST_FILE
    file.write_text(json.dumps({"digest": ""}))
    with pytest.raises(DriftError, match=rf"{MANIFEST_FILE} is damaged"):
        served_statistics(str(served.base))


def test_object_store_serves_statistics_too(make_model):
    base = "ram://drift/models"
    companions = {STATISTICS_FILE: statistics_of(x=np.arange(100.0)).SerializeToString()}
    version = push_to_object_store(str(make_model()), base, facts={}, companions=companions).version
    comparison, (found,) = compare(base, np.arange(100.0) + 1000)
    assert comparison.against == f"version {version}"
    assert found.value > 0.9
    with tf.io.gfile.GFile(f"{base}/{version}/{STATISTICS_FILE}", "w") as file:
        file.write("other")
    with pytest.raises(DriftError, match="has changed since the push"):
        served_statistics(base)
