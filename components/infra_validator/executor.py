"""Emits an InfraBlessing for a model that TF Serving could serve. Runs in InfraValidator's process.

The stock InfraValidator needs Docker or a runner that TFX 1.21 no longer has; it checks that a request is answered, not
with what. This one runs the same C++ loader as TF Serving and holds the answers against the Trainer's own.
"""

import logging
import posixpath
import shutil

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from components.infra_validator import BLESSED_FILE, NOT_BLESSED_FILE
from components.infra_validator.checks import Candidate
from components.infra_validator.model_server import BINARY, ModelServerError, served_logits
from components.infra_validator.report import largest_difference
from components.model_manifest import DIGEST_PROPERTY, local_copy, open_file


@component
def InfraValidator(
    model: InputArtifact[standard_artifacts.Model],
    model_run: InputArtifact[standard_artifacts.ModelRun],
    blessing: OutputArtifact[standard_artifacts.InfraBlessing],
    tolerance: Parameter[float],
    timeout_secs: Parameter[float],
    source_digest: Parameter[str],
) -> None:
    """Checks `model` and writes the blessing and a report; `source_digest` is of this code, for the cache key."""
    with local_copy(path_utils.serving_model_path(model.uri)) as model_dir:
        candidate = Candidate(model_dir, model_run.uri, tolerance=tolerance)
        report = candidate.check(model.get_string_custom_property(DIGEST_PROPERTY), timeout_secs)
        binary = shutil.which(BINARY)
        if binary and not report.reasons:
            report.model_server = BINARY
            _check_in_model_server(candidate, binary, model_dir, tolerance=tolerance, timeout_secs=timeout_secs)
    # TFX's names: tfx.components.infra_validator.executor and tfx.components.util.model_utils read them.
    blessed = not report.reasons
    blessing.set_int_custom_property("blessed", int(blessed))
    blessing.set_string_custom_property(DIGEST_PROPERTY, report.model_digest)
    with open_file(posixpath.join(blessing.uri, BLESSED_FILE if blessed else NOT_BLESSED_FILE), "w") as file:
        file.write("")
    report.write(blessing.uri)
    logging.info("Infra check: %s; reasons to refuse: %s", report, report.reasons)


def _check_in_model_server(
    candidate: Candidate, binary: str, model_dir: str, *, tolerance: float, timeout_secs: float
) -> None:
    report = candidate.report
    try:
        logits = served_logits(binary, model_dir, candidate.examples, timeout_secs=timeout_secs)
    except ModelServerError as err:
        report.reasons.append(str(err))
        return
    difference = largest_difference(logits, candidate.logits)
    report.largest_differences[f"{BINARY} logits"] = difference
    if not difference <= tolerance:
        report.reasons.append(f"{BINARY} answers with logits that differ by {difference:.1e} (limit {tolerance:g})")
