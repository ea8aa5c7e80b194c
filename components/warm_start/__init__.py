"""WarmStart: the version that is served, for the Trainer to start from. Imports neither TensorFlow nor TFX.

Training from what is served would never come to rest: each push would be another start, and so another model to push.
So a pushed manifest tells what its training was (`training`, a digest of rows, schema, settings and code) and what it
started from (`base`). Where the version that is served comes of the very training that is to be done now, the start is
the one which that had, and everything comes from the cache.
"""

import dataclasses
import json
import posixpath
from dataclasses import dataclass

from components.baseline import Baseline
from components.model_manifest import open_file

WARM_START = "warm_start"  # key of a model's manifest
BASE_FILE = "base.json"  # in the output `base_model`


@dataclass(frozen=True)
class Base:
    """What a training starts from.

    Attributes:
        training: Digest of the training.
        version: That it is to start from; None if nothing was served.
        digest: Of its model; empty if there is none.
        reason: Why it starts from new weights nevertheless; empty if it does not.
    """

    training: str
    version: int | None = None
    digest: str = ""
    reason: str = ""

    @property
    def served(self) -> Baseline:
        """The version as the push destination told of it."""
        return Baseline(self.version, self.digest, self.reason if self.version is None else "")


def write_base(base: Base, base_dir: str) -> None:
    """Writes `base.json` into the folder of the output `base_model`."""
    with open_file(posixpath.join(base_dir, BASE_FILE), "wb") as file:
        file.write(json.dumps(dataclasses.asdict(base), indent=1).encode())


def load_base(base_dir: str) -> Base:
    """Reads what WarmStart wrote into the folder of its output `base_model`."""
    with open_file(posixpath.join(base_dir, BASE_FILE), "rb") as file:
        return Base(**json.loads(file.read()))
