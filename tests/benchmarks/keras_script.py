"""The floor: the same network on the same rows in memory, with nothing of TFX. Prints its phases and accuracy as JSON.

`python tests/benchmarks/keras_script.py CSV_FILE TEST_FILE OUTPUT_DIR BATCH_SIZE NUM_EPOCHS`. The accuracy is that
of the rows of TEST_FILE, of which no phase knows.
"""

import json
import os
import sys
import time


def main(csv_file, test_file, output_dir, batch_size, num_epochs):
    """Reads, splits, scales, trains, evaluates and exports."""
    phases, start = {}, time.perf_counter()

    def end(name):
        nonlocal start
        now = time.perf_counter()
        phases[name], start = now - start, now

    import keras
    import numpy as np
    import pyarrow.csv

    end("imports")

    def read(file):
        *columns, labels = (column.to_numpy() for column in pyarrow.csv.read_csv(file).columns)
        return np.stack([column.astype(np.float32) for column in columns], axis=1), labels

    rows, labels = read(csv_file)
    is_train = np.random.default_rng(0).permutation(len(rows)) % 3 < 2
    low, high = rows[is_train].min(axis=0), rows[is_train].max(axis=0)
    rows = (rows - low) / (high - low)
    end("ExampleGen")
    keras.utils.set_random_seed(int(os.environ.get("BENCHMARK_SEED", "1")))
    model = keras.Sequential([keras.Input((rows.shape[1],)), keras.layers.Dense(64, "relu"), keras.layers.Dense(3)])
    model.compile(
        keras.optimizers.Adam(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    data = rows[is_train], labels[is_train], rows[~is_train], labels[~is_train]
    model.fit(*data[:2], validation_data=data[2:], batch_size=batch_size, epochs=num_epochs, verbose=0)
    end("Trainer")
    model.evaluate(*data[2:], batch_size=4096, verbose=0)
    end("Evaluator")
    model.export(output_dir, verbose=False)
    end("Pusher")
    test_rows, test_labels = read(test_file)
    predicted = model.predict((test_rows - low) / (high - low), batch_size=4096, verbose=0).argmax(axis=1)
    accuracy = float((predicted == test_labels).mean())
    print(json.dumps({"components": phases, "accuracy": accuracy}))


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
