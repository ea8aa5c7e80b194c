"""A server that looks at the destination all the time never sees half a version."""

import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

from components.infra_validator.feeds import feed_examples, read_recorded_logits
from components.infra_validator.loader import SavedModelSession
from components.infra_validator.signatures import load_meta_graph, signatures_of
from components.model_manifest import check_model
from components.pusher.versions import list_versions

pytestmark = pytest.mark.e2e

NUM_PUSHES = 200
# Each push is of a model that differs by a file, so that it is another one.
PUSHES = f"""
import sys, time
from pathlib import Path
from components.model_manifest import make_manifest, write_manifest
from components.pusher.push import push_model
model_dir, base_dir = sys.argv[1:]
for number in range({NUM_PUSHES}):
    Path(model_dir, "number.txt").write_text(str(number))
    write_manifest(model_dir, make_manifest(model_dir))
    assert push_model(model_dir, base_dir, facts={{}}, keep_versions=20).is_new
    time.sleep(0.05)  # so that more versions are seen
"""


def test_poller_never_sees_an_incomplete_version_during_200_pushes(sluice, reference, tmp_path):
    (trainer,) = (run for run in reference.record["components"] if run["component"] == "Trainer")
    examples, logits = read_recorded_logits(trainer["outputs"]["model_run"])
    pushed = sluice.root / "serving_model" / "reference" / str(reference.versions[0])
    model, base = tmp_path / "model", tmp_path / "base"
    shutil.copytree(pushed, model)
    (model / "sluice_manifest.json").unlink()
    base.mkdir()
    signature = signatures_of(load_meta_graph(str(model)))["serving_default"]
    process = subprocess.Popen([sys.executable, "-c", PUSHES, str(model), str(base)])

    loaded, failures, finished, num_listings = set(), [], threading.Event(), 0

    def poll():
        """Loads the newest version whenever there is a new one, as a server does, and asks it."""
        nonlocal num_listings
        while not finished.is_set():
            num_listings += 1
            names = [path.name for path in base.iterdir() if path.name.isdecimal()]
            newest = max(names, key=int, default=None)
            if newest is None or newest in loaded:
                continue
            try:
                check_model(str(base / newest), "")
                session = SavedModelSession(str(base / newest))
                feeds = feed_examples(signature, examples[:4])
                (answer,) = session.run(feeds, [signature.outputs["logits"].tensor_name])
                np.testing.assert_allclose(answer, logits[:4], atol=1e-5)
                session.close()
            except Exception as err:
                failures.append((newest, err))
            loaded.add(newest)

    thread = threading.Thread(target=poll)
    thread.start()
    exit_code = process.wait(300)
    finished.set()
    thread.join()
    print(f"\n{NUM_PUSHES} pushes; {num_listings} listings, {len(loaded)} versions loaded, {len(failures)} failed")
    assert exit_code == 0
    assert failures == []
    assert len(loaded) >= 5
    assert len(list_versions(base)) == 20
