import json
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.trainer.model import build_model
from components.trainer.module import TrainingTrace, create_early_stopping
from components.trainer.rows import Data, Split, default_batch_size
from schema import FeatureRoles

FEATURES = ["a_xf", "b_xf"]
SPEC = {name: tf.io.FixedLenFeature([1], tf.float32) for name in FEATURES} | {
    "y_xf": tf.io.FixedLenFeature([1], tf.int64)
}

ROLES = FeatureRoles(numeric=["a", "b"], label="y", class_names=["no", "yes"])


def make_rows(num_rows=60):
    generator = np.random.default_rng(0)
    columns = {name: generator.uniform(size=(num_rows, 1)).astype(np.float32) for name in FEATURES}
    labels = (columns["a_xf"] + columns["b_xf"] > 1).astype(np.int64)
    return columns, labels


def write_examples(file, columns, labels):
    with tf.io.TFRecordWriter(str(file), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for index in range(len(labels)):
            example = tf.train.Example()
            for name, column in columns.items():
                example.features.feature[name].float_list.value.append(column[index, 0])
            example.features.feature["y_xf"].int64_list.value.append(labels[index, 0])
            writer.write(example.SerializeToString())


def test_default_model_is_the_mission_s():
    model = build_model(FEATURES, 3, hidden_units=[8])
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert isinstance(model.loss, keras.losses.SparseCategoricalCrossentropy)
    assert model.loss.get_config()["from_logits"]
    assert model.layers[-1].activation is keras.activations.linear
    assert {name: tuple(x.shape) for name, x in model.input.items()} == dict.fromkeys(FEATURES, (None, 1))
    assert tuple(model.output.shape) == (None, 3)


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "sparse_categorical_focal_crossentropy"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_every_loss_falls_and_every_metric_is_logged(loss, optimizer):
    keras.utils.set_random_seed(0)
    metrics = ["accuracy", "top_2_accuracy", "cross_entropy"]
    model = build_model(
        FEATURES, 2, hidden_units=[8], optimizer=optimizer, learning_rate=0.05, loss=loss, metrics=metrics
    )
    assert model.optimizer.learning_rate.numpy() == np.float32(0.05)
    columns, labels = make_rows()
    history = model.fit(columns, labels, epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert set(metrics) < set(history)


def test_no_hidden_units_give_a_linear_model():
    assert len(build_model(FEATURES, 2, hidden_units=[]).trainable_weights) == 2


def test_label_that_is_no_class_is_an_error():
    model = build_model(FEATURES, 2, hidden_units=[4])
    columns, labels = make_rows()
    with pytest.raises(tf.errors.InvalidArgumentError, match="label value of 7"):
        model.fit(columns, labels + 6, verbose=0)


def split_of(pattern, name="train", spec=SPEC, roles=ROLES, transform=None):
    return Split(name, [str(pattern)], spec, roles, transform)


def batches_of(dataset):
    """Returns every feature, label (and weight) of a dataset's rows, one array each."""
    parts = list(dataset.as_numpy_iterator())
    features = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    return features, *(np.concatenate([part[index] for part in parts]) for index in range(1, len(parts[0])))


def test_rows_come_in_the_same_order_from_any_order_and_sharding(tmp_path):
    columns, labels = make_rows()
    write_examples(tmp_path / "one-0.gz", columns, labels)
    order = np.random.default_rng(1).permutation(len(labels))
    for shard, part in enumerate(np.array_split(order, 3)):
        write_examples(tmp_path / f"three-{shard}.gz", {n: c[part] for n, c in columns.items()}, labels[part])
    one, one_labels = Data(split_of(tmp_path / "one-*")).rows
    three, three_labels = Data(split_of(tmp_path / "three-*")).rows
    np.testing.assert_array_equal(one_labels, three_labels)
    for name in FEATURES:
        np.testing.assert_array_equal(one[name], three[name])
        np.testing.assert_array_equal(np.sort(one[name], 0), np.sort(columns[name], 0))


def test_rows_of_many_batches_that_are_equal_in_part_come_in_order(tmp_path):
    generator = np.random.default_rng(2)
    columns = {name: generator.integers(0, 90, (20_000, 1)).astype(np.float32) for name in FEATURES}
    labels = generator.integers(0, 2, (20_000, 1))
    write_examples(tmp_path / "rows.gz", columns, labels)
    features, read = Data(split_of(tmp_path / "rows.gz")).rows
    order = np.lexsort([column[:, 0] for column in (*columns.values(), labels)])
    np.testing.assert_array_equal(read, labels[order])
    for name in FEATURES:
        np.testing.assert_array_equal(features[name], columns[name][order])


def test_split_without_rows_is_named(tmp_path):
    write_examples(tmp_path / "empty.gz", {}, np.zeros((0, 1), np.int64))
    with pytest.raises(ValueError, match=r"No rows in .*empty.gz; a split is empty"):
        Data(split_of(tmp_path / "empty.gz"))


@pytest.mark.parametrize("wrong", [-1, 2])
def test_label_that_is_no_class_is_refused_as_it_is_read(tmp_path, wrong):
    columns, labels = make_rows()
    labels[41] = wrong
    write_examples(tmp_path / "rows.gz", columns, labels)
    with pytest.raises(ValueError, match=f"^the label 'y' is {wrong} in the eval split; it must lie between 0 and 1"):
        Data(split_of(tmp_path / "rows.gz", "eval"))


def test_trace_keeps_the_figures_of_each_epoch(tmp_path):
    model = build_model(FEATURES, 2, hidden_units=[4])
    columns, labels = make_rows()
    trace_file = tmp_path / "run" / "trace.json"
    history = model.fit(
        columns, labels, validation_split=0.5, epochs=2, verbose=0, callbacks=[TrainingTrace(str(trace_file))]
    ).history
    epochs = json.loads(trace_file.read_text())
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    assert [epoch["val_loss"] for epoch in epochs] == history["val_loss"]
    assert all(epoch["seconds"] > 0 and "best" not in epoch for epoch in epochs)


@pytest.fixture
def fit_by_figures(tmp_path):
    """Trains with early stopping on chosen figures; returns the model, its weights after each epoch, and the trace."""

    def fit(figures, **settings):
        class Figures(keras.callbacks.Callback):
            weights: ClassVar = []

            def on_epoch_end(self, epoch, logs=None):
                logs[settings["monitor"]] = figures[epoch]
                self.weights.append(self.model.get_weights())

        keras.utils.set_random_seed(0)
        model, trace_file = build_model(FEATURES, 2, hidden_units=[4], learning_rate=0.1), tmp_path / "trace.json"
        early_stopping = create_early_stopping({"min_delta": 0.0, **settings})
        callbacks = [Figures(), TrainingTrace(str(trace_file), early_stopping), early_stopping]
        columns, labels = make_rows()
        model.fit(columns, labels, validation_split=0.5, epochs=len(figures), verbose=0, callbacks=callbacks)
        return model, Figures.weights, json.loads(trace_file.read_text())

    return fit


@pytest.mark.parametrize(
    ("monitor", "figures", "settings", "best", "num_epochs"),
    [
        ("val_loss", [3, 1, 2, 2, 0], {"patience": 2}, 2, 4),
        ("val_loss", [3, 1, 2, 2], {"patience": 9}, 2, 4),  # no early stop: restored after the last epoch all the same
        ("val_loss", [3, 2, 1], {"patience": 1}, 3, 3),
        ("val_loss", [3, 2.9, 2.8, 2.7], {"patience": 2, "min_delta": 0.5}, 1, 3),
        ("val_accuracy", [0.5, 0.9, 0.7, 0.8, 1], {"patience": 2}, 2, 4),
        ("val_top_2_accuracy", [0.5, 0.9, 0.7], {"patience": 2}, 2, 3),
        ("val_cross_entropy", [0.5, 0.9, 0.7, 0], {"patience": 2}, 1, 3),
    ],
)
def test_weights_of_the_best_epoch_are_kept(fit_by_figures, monitor, figures, settings, best, num_epochs):
    model, weights, trace = fit_by_figures(figures, monitor=monitor, **settings)
    columns, _ = make_rows()
    kept = model.predict(columns, verbose=0)
    assert [epoch["best"] for epoch in trace] == [epoch == best for epoch in range(1, num_epochs + 1)]
    for epoch, of_epoch in enumerate(weights, 1):
        model.set_weights(of_epoch)
        assert np.array_equal(kept, model.predict(columns, verbose=0)) == (epoch == best)


def test_diverged_training_stops_with_advice(tmp_path):
    model = build_model(FEATURES, 2, hidden_units=[])
    columns, labels = make_rows()
    columns["a_xf"][0] = np.nan
    with pytest.raises(ValueError, match=r"loss is nan in epoch 1: training diverged\. Lower trainer\.learning_rate"):
        model.fit(columns, labels, validation_split=0.5, verbose=0, callbacks=[TrainingTrace(str(tmp_path / "t.json"))])


def test_categories_are_one_hot_encoded_up_to_a_size_and_embedded_beyond():
    model = build_model(FEATURES, 2, hidden_units=[], num_categories={"colour_xf": 5, "town_xf": 300}, one_hot_up_to=16)
    names = {type(layer).__name__ for layer in model.layers}
    assert {"CategoryEncoding", "Embedding"} < names
    assert model.get_layer("logits").kernel.shape == (2 + 5 + 5, 2)  # 300 ** 0.25 is between 4 and 5
    columns = {"a_xf": [[0.5]], "b_xf": [[0.1]], "colour_xf": [[4]], "town_xf": [[299]]}
    logits = model(
        {name: np.array(values, np.float32 if name[1] == "_" else np.int64) for name, values in columns.items()}
    )
    assert tuple(logits.shape) == (1, 2)


def test_single_categorical_feature_is_enough():
    model = build_model([], 2, hidden_units=[4], num_categories={"colour_xf": 5})
    assert tuple(model({"colour_xf": np.array([[1], [2]])}).shape) == (2, 2)


@pytest.mark.parametrize("name", ["od280/od315", "sepal length (cm)", "größe", "SELECT *"])
def test_any_name_of_a_feature_is_one_of_an_input(name):
    model = build_model([name, "b"], 2, hidden_units=[2])
    columns = {name: np.zeros((3, 1), np.float32), "b": np.ones((3, 1), np.float32)}
    model.fit(tf.data.Dataset.from_tensor_slices((columns, np.array([0, 1, 0]))).batch(2), verbose=0)
    assert tuple(model(columns).shape) == (3, 2)


def test_weighted_rows_make_metrics_weighted():
    model = build_model(FEATURES, 2, hidden_units=[], is_weighted=True)
    columns, labels = make_rows(8)
    model.compute_loss(x=None, y=labels, y_pred=model(columns))
    right = model(columns).numpy().argmax(1) == labels[:, 0]
    weights = np.where(right, 3.0, 1.0).astype(np.float32)
    found = model.evaluate(columns, labels, sample_weight=weights, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["accuracy"], weights[right].sum() / weights.sum(), rtol=1e-6)


WEIGHTED = FeatureRoles(numeric=("a", "b"), label="y", class_names=("no", "yes"), weight="w")
WEIGHTED_SPEC = SPEC | {"w_xf": tf.io.FixedLenFeature([1], tf.float32)}


def test_weights_are_read_with_mean_one(tmp_path):
    columns, labels = make_rows(20)
    weights = np.arange(20, dtype=np.float32)[:, np.newaxis]
    write_examples(tmp_path / "rows.gz", columns | {"w_xf": weights}, labels)
    features, _, read = Data(split_of(tmp_path / "rows*", spec=WEIGHTED_SPEC, roles=WEIGHTED)).rows
    assert set(features) == set(FEATURES)
    np.testing.assert_allclose(read.mean(), 1, rtol=1e-6)
    np.testing.assert_allclose(sorted(read), np.arange(20) / 9.5, rtol=1e-6)


def test_weights_that_are_all_zero_are_refused(tmp_path):
    columns, labels = make_rows(5)
    write_examples(tmp_path / "rows.gz", columns | {"w_xf": np.zeros((5, 1), np.float32)}, labels)
    with pytest.raises(ValueError, match="the weight 'w' is 0 in every row of the train split; no row would count"):
        Data(split_of(tmp_path / "rows*", spec=WEIGHTED_SPEC, roles=WEIGHTED))


def test_balanced_classes_count_alike(tmp_path):
    columns, _ = make_rows(10)
    labels = np.array([[0]] * 9 + [[1]])
    write_examples(tmp_path / "rows.gz", columns, labels)
    _, read, weights = Data(split_of(tmp_path / "rows.gz"), balanced=True).rows
    np.testing.assert_allclose([weights[read[:, 0] == each].sum() for each in (0, 1)], [5, 5], rtol=1e-6)


def test_balanced_classes_count_alike_whatever_their_rows_weigh(tmp_path):
    columns, _ = make_rows(10)
    labels = np.array([[0]] * 9 + [[1]])
    given = np.linspace(0.5, 1.5, 10).astype(np.float32)[:, np.newaxis]
    write_examples(tmp_path / "rows.gz", columns | {"w_xf": given}, labels)
    data = Data(split_of(tmp_path / "rows.gz", spec=WEIGHTED_SPEC, roles=WEIGHTED), balanced=True)
    _, read, weights = data.rows
    np.testing.assert_allclose([weights[read[:, 0] == each].sum() for each in (0, 1)], [5, 5], rtol=1e-6)
    heaviest = weights[read[:, 0] == 0].max() / weights[read[:, 0] == 0].min()
    np.testing.assert_allclose(heaviest, given[8, 0] / given[0, 0], rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("max_bytes", [float("inf"), 0], ids=["in memory", "from files"])
def test_every_epoch_has_every_row_once_and_in_another_order(tmp_path, max_bytes, weighted):
    columns, labels = make_rows(101)
    columns |= {"w_xf": np.linspace(1, 3, 101, dtype=np.float32)[:, np.newaxis]} if weighted else {}
    write_examples(tmp_path / "rows.gz", columns, labels)
    spec, roles = (WEIGHTED_SPEC, WEIGHTED) if weighted else (SPEC, ROLES)
    keras.utils.set_random_seed(5)
    data = Data(split_of(tmp_path / "rows.gz", spec=spec, roles=roles), max_bytes=max_bytes)
    assert (data.num_rows, data.in_memory) == (101, max_bytes > 0)
    dataset = data.train_batches(16, seed=5)
    assert [len(part[1]) for part in dataset] == [16] * 6 + [5]
    first, second = batches_of(dataset), batches_of(dataset)
    assert not np.array_equal(first[0]["a_xf"], second[0]["a_xf"])
    assert not np.array_equal(first[0]["a_xf"], np.sort(first[0]["a_xf"], axis=0))
    for epoch in (first, second, batches_of(data.eval_batches())):
        features, read, *weights = epoch
        order, expected = np.argsort(features["a_xf"][:, 0]), np.argsort(columns["a_xf"][:, 0])
        np.testing.assert_array_equal(features["b_xf"][order], columns["b_xf"][expected])
        np.testing.assert_array_equal(read[order], labels[expected])
        if weighted:
            np.testing.assert_allclose(weights[0][order], columns["w_xf"][expected, 0] / 2, rtol=1e-5)
    keras.utils.set_random_seed(5)  # TensorFlow's own is part of every seed
    again = Data(split_of(tmp_path / "rows.gz", spec=spec, roles=roles), max_bytes=max_bytes)
    again = again.train_batches(16, seed=5)
    assert len(list(again)) == 7
    again = batches_of(again)
    np.testing.assert_array_equal(again[0]["a_xf"], first[0]["a_xf"])


def test_rows_are_transformed_as_they_are_read(tmp_path):
    columns, labels = make_rows(20)
    raw = {name.removesuffix("_xf"): column for name, column in columns.items()}
    write_examples(tmp_path / "rows.gz", raw, labels)
    spec = {"a": SPEC["a_xf"], "b": SPEC["b_xf"], "y_xf": SPEC["y_xf"]}

    def transform(features):
        return {"a_xf": features["a"] * 2, "b_xf": features["b"], "y_xf": features["y_xf"]}

    features, read = Data(split_of(tmp_path / "rows.gz", spec=spec, transform=transform)).rows
    np.testing.assert_array_equal(np.sort(features["a_xf"], 0), np.sort(columns["a_xf"] * 2, 0))
    assert read.sum() == labels.sum()


def test_rows_that_tie_in_one_column_are_ordered_by_the_others(tmp_path):
    labels = np.zeros((6, 1), np.int64)
    columns = {"a_xf": np.array([[3], [1], [2], [9], [1], [0]], np.float32), "b_xf": np.ones((6, 1), np.float32)}
    write_examples(tmp_path / "rows.gz", columns, labels)
    features, _ = Data(split_of(tmp_path / "rows.gz")).rows
    assert features["a_xf"][:, 0].tolist() == [0, 1, 1, 2, 3, 9]


@pytest.mark.parametrize(
    ("num_rows", "batch_size"), [(1, 16), (678, 16), (1280, 32), (10_000, 128), (66_608, 1024), (10**8, 1024)]
)
def test_batches_grow_with_the_rows(num_rows, batch_size):
    assert default_batch_size(num_rows) == batch_size


def test_steps_at_a_time_change_no_result():
    columns, labels = make_rows(120)
    losses = []
    for steps in (1, 7):
        keras.utils.set_random_seed(3)
        model = build_model(FEATURES, 2, hidden_units=[4], steps_per_execution=steps)
        losses.append(model.fit(columns, labels, batch_size=8, epochs=3, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)
