"""Runs the pipeline on this machine, node by node. Runs in the process of `sluice run`.

TFX's LocalDagRunner does the same loop, but it tells nobody how far it is, caches the whole pipeline or nothing, and
returns normally after an input that could not be resolved (tfx/orchestration/local/local_dag_runner.py).
"""

import dataclasses
import itertools
import logging
import os
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tensorflow_data_validation as tfdv
from ml_metadata.proto import metadata_store_pb2
from tfx.components.statistics_gen.executor import DEFAULT_FILE_NAME as STATISTICS_FILE
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.proto.orchestration import pipeline_pb2
from tfx.types import Artifact
from tfx.utils import path_utils

from components.evaluator.verdict_file import load_verdict
from components.infra_validator.loader_process import start_ahead
from components.model_manifest import ManifestError, check_companions, make_manifest, read_manifest
from components.pusher import OUTCOME_PROPERTY, REASON_PROPERTY
from components.pusher.versions import list_versions
from pipeline.config import PipelineConfig
from pipeline.definition import create_components, create_pipeline
from pipeline.disk import free_reserve, is_full
from pipeline.metadata_store import check_store, claim, connection_config, lost_store, opened
from pipeline.recovery import CANCELED, FAILED, Leftovers, recover, remove_unfinished, settle
from pipeline.retries import can_pass, delay_secs
from pipeline.run_outcome import MetadataError
from pipeline.run_record import ComponentRun, RunPaths

_STATES = {
    metadata_store_pb2.Execution.COMPLETE: "done",
    metadata_store_pb2.Execution.CACHED: "cached",
}
_READ_EVERY_SPLIT = ("ExampleGen", "StatisticsGen", "Transform")


class LocalRun:
    """One run of a pipeline with the metadata store, artifacts and pushes of `paths`.

    Attributes:
        push_outcome: What the Pusher says that it did (`components/pusher/executor.py`); empty if it is stock.
        push_refusal: Why the Pusher refused the model; empty if it did not.
    """

    def __init__(self, config: PipelineConfig, paths: RunPaths, *, force_push: str = "") -> None:
        """Compiles the pipeline; nothing runs yet. `force_push` is the reason to push a model that is refused.

        Raises:
            MetadataError: If the metadata store is damaged, or its server refuses it.
        """
        # Locally the module files are imported from where they are; packaged, each use would build and install a wheel.
        os.environ["UNSUPPORTED_DO_NOT_PACKAGE_USER_MODULES"] = "1"
        paths.metadata_file.parent.mkdir(parents=True, exist_ok=True)
        self._paths = paths
        self._retry = config.retry
        self._connection = connection_config(config.metadata, paths.metadata_file)
        check_store(self._connection)
        parameters = {"serving_model_dir": str(paths.serving_model_dir), "force_push": force_push}
        pipeline = create_pipeline(
            config,
            create_components(config, config.run_parameters() | parameters),
            pipeline_root=str(paths.pipeline_root),
            image=config.image,
        )
        self._ir = compiler.Compiler().compile(pipeline)
        _leave_out_findings(self._ir)
        runtime_parameter_utils.substitute_runtime_parameter(
            self._ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: paths.run_id}
        )
        self._deployment = runner_utils.extract_local_deployment_config(self._ir)
        self._runs: list[ComponentRun] = []
        splits = config.example_gen.splits
        self._splits_read = dict.fromkeys(_READ_EVERY_SPLIT, splits) | {
            "Tuner": ("train",),
            "Trainer": ("train",),
            "Evaluator": splits[-1:],
        }
        self.force_push = force_push
        self.push_outcome = ""
        self.push_refusal = ""

    @property
    def components(self) -> tuple[ComponentRun, ...]:
        """What has been done so far."""
        return tuple(map(self._with_rows, self._runs))

    @property
    def has_pushed(self) -> bool:
        """Whether the destination holds this run's model."""
        return any("pushed_model" in run.outputs for run in self._runs)

    @property
    def is_unchanged(self) -> bool:
        """Whether the destination held this run's model before it began."""
        states = {run.component: run.state for run in self._runs}
        return self.has_pushed and (states["Pusher"] == "cached" or self.push_outcome == "unchanged")

    def disable_cache(self, from_component: str | None = None) -> None:
        """Makes every component execute, or `from_component` and all that depends on it."""
        affected = {from_component}
        for node in self._ir.nodes:
            pipeline_node = node.pipeline_node
            if from_component is None or pipeline_node.node_info.id in affected:
                _disable_cache(pipeline_node)
                affected.update(pipeline_node.downstream_nodes)

    def recover(self) -> Leftovers:
        """Puts right what a run left that died, before this one executes.

        Raises:
            MetadataError: If artifacts and metadata store do not belong together.
        """
        with opened(self._connection) as handle:
            claim(handle, self._paths)
            return recover(handle, self._paths.pipeline_name, self._paths.pipeline_root)

    def execute(
        self,
        on_start: Callable[[str], None],
        on_finish: Callable[[ComponentRun], None],
        on_retry: Callable[[str], None],
    ) -> None:
        """Runs every component, in order. After a fault that can pass, one is tried again.

        Args:
            on_start: Called with a component's id before it runs.
            on_finish: Called with what it did, also when it failed.
            on_retry: Called with a sentence before one is tried again.

        Raises:
            Exception: What a component raised; those after it do not run.
        """
        for node in self._ir.nodes:
            pipeline_node = node.pipeline_node
            component = pipeline_node.node_info.id
            on_start(component)
            start, started_secs = time.perf_counter(), time.time() - self._paths.started.timestamp()
            state = "failed"
            outputs: dict[str, str] = {}
            try:
                state, outputs = self._try(pipeline_node, on_retry)
            finally:
                seconds = time.perf_counter() - start
                self._runs.append(ComponentRun(component, state, seconds, None, outputs, started_secs))
                on_finish(self._runs[-1])

    def output_dir(self, component: str, output: str) -> str:
        """Returns the folder of a component's output.

        Raises:
            KeyError: If this run does not have it.
        """
        outputs = {run.component: run.outputs for run in self._runs}
        return outputs[component][output]

    def _try(
        self, pipeline_node: pipeline_pb2.PipelineNode, on_retry: Callable[[str], None]
    ) -> tuple[str, dict[str, str]]:
        component, attempt = pipeline_node.node_info.id, 1
        while True:
            try:
                return self._launch(pipeline_node)
            except BaseException as err:
                if is_full(err):
                    free_reserve(self._paths.temporary_dir)  # the metadata store needs room to say that this failed
                is_settled = self._clean_up(CANCELED if isinstance(err, KeyboardInterrupt) else FAILED)
                if attempt > self._retry.of(component) or not can_pass(err):
                    if sentence := lost_store(self._connection, err):
                        raise MetadataError(f"{component}: {sentence}") from err
                    raise
                logging.exception("%s failed; it is tried again.", component)
                reason = f"{type(err).__name__}: {err}"
            wait_secs = delay_secs(attempt, self._retry.backoff_secs)
            attempt += 1
            of = self._retry.of(component) + 1
            on_retry(f"{component} is tried again in {wait_secs:.1f} s, attempt {attempt} of {of}: {reason}")
            time.sleep(wait_secs)
            if not is_settled:
                self._clean_up(FAILED)

    def _clean_up(self, state: "metadata_store_pb2.Execution.State.ValueType") -> bool:
        """Publishes an execution that TFX left as it was, removes what it wrote and returns whether it could."""
        try:
            with metadata.Metadata(self._connection) as handle:
                settle(handle, self._paths.pipeline_name, state)
                remove_unfinished(handle, self._paths.pipeline_name, self._paths.pipeline_root)
                return True
        except (
            Exception
        ):  # as on a full disk; what made the component fail is what counts, and the next run looks again
            logging.exception("The execution that failed could not be published.")
            return False

    def _launch(self, pipeline_node: pipeline_pb2.PipelineNode) -> tuple[str, dict[str, str]]:
        component = pipeline_node.node_info.id
        if component == "Trainer":
            start_ahead()  # InfraValidator's
        if component == "DataGate" or (component == "Pusher" and self._push_is_stale()):  # both look at what is served
            _disable_cache(pipeline_node)
        info = _Launcher(
            pipeline_node=pipeline_node,
            mlmd_connection=metadata.Metadata(self._connection),
            pipeline_info=self._ir.pipeline_info,
            pipeline_runtime_spec=self._ir.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(self._deployment, component),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(self._deployment, component),
        ).launch()
        with metadata.Metadata(self._connection) as handle:
            (execution,) = handle.store.get_executions_by_id([info.execution_id])
            artifacts = execution_lib.get_output_artifacts(handle, info.execution_id)
        if execution.last_known_state not in _STATES:
            raise RuntimeError(f"{component} did not run; its inputs could not be resolved.")
        outputs = {name: artifact.uri for name, (artifact, *_) in sorted(artifacts.items())}
        if "pushed_model" in outputs:
            # The artifact is an empty folder or, of the stock Pusher, a copy; what counts is where the model went.
            (pushed_model,) = artifacts["pushed_model"]
            destination = pushed_model.get_string_custom_property("pushed_destination")
            outputs = {"pushed_model": destination} if destination else {}
            self.push_outcome = pushed_model.get_string_custom_property(OUTCOME_PROPERTY)
            self.push_refusal = pushed_model.get_string_custom_property(REASON_PROPERTY)
        return _STATES[execution.last_known_state], outputs

    def _push_is_stale(self) -> bool:
        """Whether the newest version is not the model to push, whole, so that a push from the cache would be none."""
        if not self.force_push and not load_verdict(self.output_dir("Evaluator", "blessing")).blessed:
            return False
        model_dir = path_utils.serving_model_path(self.output_dir("Trainer", "model"))
        versions = list_versions(self._paths.serving_model_dir)
        if not versions:
            return True
        newest_dir = str(self._paths.serving_model_dir / str(versions[-1]))
        try:
            check_companions(newest_dir, read_manifest(newest_dir))
            return make_manifest(newest_dir)["digest"] != read_manifest(model_dir)["digest"]
        except ManifestError:
            return True

    def _with_rows(self, run: ComponentRun) -> ComponentRun:
        splits = self._splits_read.get(run.component, ())
        try:
            statistics_dir = self.output_dir("StatisticsGen", "statistics")
            num_rows = sum(_num_rows(statistics_dir, split) for split in splits)
        except (KeyError, OSError, tf.errors.OpError):
            return run
        return dataclasses.replace(run, num_rows=num_rows or None)


class _Launcher(launcher.Launcher):
    """TFX's launcher, after which an artifact that the metadata store knows is on the disk, whole."""

    def _publish_successful_execution(
        self, execution_id: int, contexts: Any, output_dict: dict[str, list[Artifact]], executor_output: Any
    ) -> None:
        for artifact in itertools.chain.from_iterable(output_dict.values()):
            sync_folder(artifact.uri)
        super()._publish_successful_execution(execution_id, contexts, output_dict, executor_output)


def sync_folder(folder: str) -> None:
    """Waits until a folder and all below it are on the disk."""
    for directory, _, files in os.walk(folder):
        for path in (*(os.path.join(directory, file) for file in files), directory):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _leave_out_findings(ir: pipeline_pb2.Pipeline) -> None:
    """Takes DataGate's findings from RunReport's inputs, because they are new artifacts in a run that changes nothing.

    `sluice run` adds them to the report itself.
    """
    for node in ir.nodes:
        if node.pipeline_node.node_info.id == "RunReport":
            del node.pipeline_node.inputs.inputs["findings"]
            node.pipeline_node.upstream_nodes.remove("DataGate")


def _disable_cache(pipeline_node: pipeline_pb2.PipelineNode) -> None:
    pipeline_node.execution_options.caching_options.enable_cache = False


def _num_rows(statistics_dir: str, split: str) -> int:
    statistics = tfdv.load_stats_binary(os.path.join(statistics_dir, f"Split-{split}", STATISTICS_FILE))
    return statistics.datasets[0].num_examples
