"""Checks a candidate as its consumers will use it. Runs in InfraValidator's process, the model in another one."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from components.infra_validator.feeds import feed_examples, read_recorded_logits, warmup_feeds
from components.infra_validator.graph_scan import forbidden_operations
from components.infra_validator.loader import Array, LoaderError
from components.infra_validator.loader_process import LoaderDiedError, LoaderProcess
from components.infra_validator.report import InfraReport, largest_difference
from components.infra_validator.signatures import Signature, load_meta_graph, signatures_of
from components.model_manifest import ManifestError, check_model
from components.trainer import RECORDED_LOGITS_FILE, WARMUP_FILE

_SINGLE_ROWS = 8
_MAX_WARMUP_RECORDS = 1000  # WarmupConsts::kMaxNumRecords of TF Serving
_LATENCY_REPEATS = (200, 30)  # of one row, of all
_MALFORMED = {
    "an empty batch": [],
    "a malformed tf.Example": [b"\xffnot a tf.Example"],
    "a tf.Example without features": [b""],
}


class Candidate:
    """One model under check."""

    def __init__(self, model_dir: str, model_run_dir: str, *, tolerance: float) -> None:
        """Reads the Trainer's record.

        Args:
            model_dir: Local folder of the SavedModel.
            model_run_dir: The Trainer's output `model_run`, with the recorded logits.
            tolerance: Largest difference of a logit or a score that passes, absolute up to 1 and relative beyond.
        """
        self.report = InfraReport()
        self._model_dir = model_dir
        self._tolerance = tolerance
        self._signatures: dict[str, Signature] = {}
        self._refused_outputs: set[str] = set()
        self.examples, self.logits = read_recorded_logits(model_run_dir)
        self.report.num_rows = len(self.examples)
        if not np.isfinite(self.logits).all():
            self._refuse("the logits that the Trainer recorded are not finite: the trained model is broken")
        if not self.examples:
            self._refuse(
                f"the Trainer recorded no logits in {RECORDED_LOGITS_FILE}; a module file of your own exports with "
                "components.trainer.export.export_model."
            )

    def check(self, expected_digest: str, timeout_secs: float) -> InfraReport:
        """Runs every check and returns what was found.

        Args:
            expected_digest: Digest of the model by the metadata of its artifact.
            timeout_secs: After which the model's process is killed.
        """
        try:
            self.report.model_digest = check_model(self._model_dir, expected_digest)["digest"]
            meta_graph = load_meta_graph(self._model_dir)
        except (ManifestError, ValueError, OSError) as err:
            self._refuse(str(err))
            return self.report
        self.report.reasons += forbidden_operations(meta_graph)
        self._signatures = signatures_of(meta_graph)
        self._check_signatures()
        if not self.report.reasons:  # what is known to be bad is not run
            self._check_in_loader(timeout_secs)
        return self.report

    def _check_signatures(self) -> None:
        default = self._signatures.get("serving_default")
        if not default or "logits" not in default.outputs:
            self._refuse("the model has no signature 'serving_default' with the output 'logits'")
        for name, signature in self._signatures.items():
            for tensor_name, info in [*signature.inputs.items(), *signature.outputs.items()]:
                if info.shape is not None and (not info.shape or info.shape[0] is not None):
                    self._refuse(f"the batch dimension of '{name}' is not free in '{tensor_name}': {info.shape}")

    def _check_in_loader(self, timeout_secs: float) -> None:
        what = "loading the model"
        try:
            with LoaderProcess(timeout_secs) as process, self._noting_memory(process):
                start = time.perf_counter()
                process.load(self._model_dir)
                self.report.load_secs = time.perf_counter() - start
                for name, signature in self._signatures.items():
                    what = f"running '{name}'"
                    self._check_signature(process, name, signature)
                what = "replaying the warmup requests"
                self._check_warmup(process)
                what = "refusing malformed requests"
                self._check_malformed(process)
        except (LoaderError, LoaderDiedError) as err:
            reason = f"{what} failed: {_first_line(err)}" if isinstance(err, LoaderError) else str(err)
            self._refuse(reason)

    @contextlib.contextmanager
    def _noting_memory(self, process: LoaderProcess) -> Iterator[None]:
        try:
            yield
        finally:
            self.report.peak_rss_mib = process.peak_rss_mib

    def _check_signature(self, process: LoaderProcess, name: str, signature: Signature) -> None:
        fetches = [info.tensor_name for info in signature.outputs.values()]
        single_rows = [slice(index, index + 1) for index in range(min(_SINGLE_ROWS, len(self.examples)))]
        for selection in (*single_rows, slice(None)):
            examples = self.examples[selection]
            feeds = feed_examples(signature, examples)
            arrays, _ = process.run(feeds, fetches, f"running '{name}' on {len(examples)} rows")
            self._compare(name, signature, dict(zip(signature.outputs, arrays, strict=True)), selection)
        for examples, repeat in zip((self.examples[:1], self.examples), _LATENCY_REPEATS, strict=True):
            feeds = feed_examples(signature, examples)
            _, seconds = process.run(feeds, fetches, f"timing '{name}'", repeat=repeat)
            p50, p99 = np.percentile(seconds, [50, 99]) * 1000
            self.report.latency_millis[f"{name} x{len(examples)}"] = {"p50": p50, "p99": p99}

    def _compare(self, name: str, signature: Signature, outputs: Mapping[str, Array], rows: slice) -> None:
        logits = self.logits[rows]
        expected = {"logits": logits, "probabilities": _softmax(logits), "scores": _softmax(logits)}
        for output, array in outputs.items():
            if f"{name} {output}" in self._refused_outputs:
                continue  # one reason is enough
            num_reasons = len(self.report.reasons)
            info, where = signature.outputs[output], f"'{output}' of '{name}' on {len(logits)} rows"
            fits = array.dtype == info.dtype and info.fits(array.shape) and len(array) == len(logits)
            if not fits or (output in expected and (array.dtype.kind, array.shape) != ("f", logits.shape)):
                self._refuse(f"{where} is {array.dtype} {array.shape}; its signature says {info.dtype} {info.shape}")
            elif array.dtype.kind == "f" and not np.isfinite(array).all():
                self._refuse(f"{where} is not finite in {np.sum(~np.isfinite(array))} places")
            elif output in expected:
                difference = largest_difference(array, expected[output])
                key = f"{name} {output}"
                self.report.largest_differences[key] = max(difference, self.report.largest_differences.get(key, 0.0))
                if not difference <= self._tolerance:
                    self._refuse(f"{where} differs by {difference:.1e} from the Trainer's (limit {self._tolerance:g})")
            if len(self.report.reasons) > num_reasons:
                self._refused_outputs.add(f"{name} {output}")
        if outputs.keys() >= {"logits", "classes", "predicted_class"}:
            self._check_classes(name, outputs["logits"], outputs["classes"], outputs["predicted_class"])

    def _check_classes(self, name: str, logits: Array, classes: Array, predicted: Array) -> None:
        """Holds the names of the classes against each other and against the model's own logits."""
        if classes.shape != logits.shape or predicted.size != len(logits):
            self._refuse(f"'classes' and 'predicted_class' of '{name}' do not fit its 'logits'")
        elif (classes != classes[:1]).any() or len(set(classes[0])) != logits.shape[1]:
            self._refuse(f"'classes' of '{name}' does not name the same {logits.shape[1]} classes for every row")
        elif (predicted.ravel() != classes[0][logits.argmax(axis=1)]).any():
            self._refuse(f"'predicted_class' of '{name}' is not the class with the largest logit")

    def _check_warmup(self, process: LoaderProcess) -> None:
        file = os.path.join(self._model_dir, WARMUP_FILE)
        if not os.path.exists(file):
            self._refuse(f"{WARMUP_FILE} is missing")
            return
        try:
            records = list(tf.data.TFRecordDataset(file).as_numpy_iterator())
        except tf.errors.OpError as err:
            self._refuse(f"{WARMUP_FILE} cannot be read: {err.message}")
            return
        if not 0 < len(records) <= _MAX_WARMUP_RECORDS:
            self._refuse(f"{WARMUP_FILE} holds {len(records)} records; TF Serving reads 1 to {_MAX_WARMUP_RECORDS}")
            return
        for record in records:
            name, feeds = warmup_feeds(record, self._signatures)
            fetches = [info.tensor_name for info in self._signatures[name].outputs.values()]
            try:
                process.run(feeds, fetches, f"replaying a warmup request for '{name}'")
            except LoaderError as err:
                raise LoaderError(err.code, f"a request for '{name}': {err}") from err

    def _check_malformed(self, process: LoaderProcess) -> None:
        signature = self._signatures["serving_default"]
        fetches = [signature.outputs["logits"].tensor_name]
        for what, examples in _MALFORMED.items():
            try:
                (logits,), _ = process.run(feed_examples(signature, examples), fetches, f"answering {what}")
            except LoaderError:
                continue  # a clean refusal
            if len(logits) != len(examples):
                self._refuse(f"'serving_default' answers {what} with {len(logits)} rows")
        process.run(feed_examples(signature, self.examples[:1]), fetches, "answering after malformed requests")

    def _refuse(self, reason: str) -> None:
        if reason not in self.report.reasons:
            self.report.reasons.append(reason)


def _softmax(logits: Array) -> Array:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _first_line(err: Exception) -> str:
    return str(err).splitlines()[0][:300] if str(err) else type(err).__name__
