"""Runs the tasks of a spec in their order: conditions, retries, failures and exit handlers as a backend has them."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import ComponentSpec, DagSpec, ParameterType, PipelineTaskSpec

from pipeline.rehearsal.conditions import ConditionError, holds
from pipeline.rehearsal.launcher import Launcher, TaskError, Values
from pipeline.rehearsal.placeholders import PlaceholderError
from pipeline.rehearsal.spec import Specification, defaults, dependencies, task_order

SUCCEEDED, FAILED, SKIPPED, NOT_RUN = "succeeded", "failed", "skipped", "not run"
_ABSENT = object()  # an optional input of a DAG that was not given
_EXIT_TASK = PipelineTaskSpec.TriggerPolicy.ALL_UPSTREAM_TASKS_COMPLETED


@dataclass
class TaskRun:
    """What became of a task.

    Attributes:
        name: Its name, after those of the DAGs that it is in: `tfx-dag/Trainer`.
        state: `succeeded`, `failed`, `skipped` (by a condition) or `not run` (for what it needed did not succeed).
        seconds: From its first attempt to its end.
        attempts: How often it ran.
        error: Why it failed.
        outputs: Its outputs.
    """

    name: str
    state: str = NOT_RUN
    seconds: float = 0.0
    attempts: int = 0
    error: str = ""
    outputs: Values = field(default_factory=Values)


@dataclass
class Backend:
    """Runs a spec once.

    Attributes:
        specification: The spec.
        launcher: Runs its tasks.
        run_dir: Holds a folder per task.
        max_backoff_secs: The longest wait before a retry.
        on_start: Called with a task before it runs.
        on_finish: Called with a task that has ended, or does not run.
        on_retry: Called with a task that failed and is tried again.
        tasks: What became of each task so far, DAGs left out.
    """

    specification: Specification
    launcher: Launcher
    run_dir: Path
    max_backoff_secs: float
    on_start: Callable[[TaskRun], None]
    on_finish: Callable[[TaskRun], None]
    on_retry: Callable[[TaskRun], None]
    tasks: list[TaskRun] = field(default_factory=list)

    def run(self, parameters: Mapping[str, Any]) -> TaskRun:
        """Runs every task; returns what became of the whole."""
        root = self.specification.pipeline.root
        values = Values(self.launcher.paths.local(dict(parameters)))
        return self._run_dag(TaskRun(self.specification.pipeline.pipeline_info.name), root, values, prefix="")

    def _run_dag(self, whole: TaskRun, component: ComponentSpec, inputs: Values, *, prefix: str) -> TaskRun:
        dag, finished = component.dag, dict[str, TaskRun]()
        for name in task_order(dag):
            task, run = dag.tasks[name], TaskRun(prefix + name)
            finished[name] = run
            if self._is_blocked(task, finished):
                self._leave_out(run, task)
            else:
                self._run_task(run, task, inputs, finished)
        failed = [run for run in finished.values() if run.state == FAILED]
        whole.state = FAILED if failed else SUCCEEDED
        whole.error = f"{failed[0].name}: {failed[0].error}" if failed else ""
        whole.outputs = _dag_outputs(dag, finished)
        return whole

    def _is_blocked(self, task: PipelineTaskSpec, finished: Mapping[str, TaskRun]) -> bool:
        if task.trigger_policy.strategy == _EXIT_TASK:
            return False
        if any(finished[name].state != SUCCEEDED for name in dependencies(task)):
            return True
        if not self.specification.fail_fast:
            return False
        # What was ready when another task failed had been started beside it.
        order = list(finished)
        failed = [order.index(name) for name, run in finished.items() if run.state == FAILED]
        return any(order.index(name) > failed[0] for name in dependencies(task)) if failed else False

    def _leave_out(self, run: TaskRun, task: PipelineTaskSpec) -> None:
        """Records a task, or those of a DAG, that does not run; its state says whether by a condition."""
        component = self.specification.pipeline.components[task.component_ref.name]
        if component.WhichOneof("implementation") != "dag":
            self.tasks.append(run)
            self.on_finish(run)
        for name in component.dag.tasks:
            self._leave_out(TaskRun(f"{run.name}/{name}", run.state), component.dag.tasks[name])

    def _run_task(self, run: TaskRun, task: PipelineTaskSpec, inputs: Values, finished: Mapping[str, TaskRun]) -> None:
        component = self.specification.pipeline.components[task.component_ref.name]
        is_dag = component.WhichOneof("implementation") == "dag"
        try:
            values = self._resolve(task, component, inputs, finished)
            if task.trigger_policy.condition and not _is_triggered(task, values):
                run.state = SKIPPED
                self._leave_out(run, task)
                return
        except (TaskError, ConditionError) as err:
            run.state, run.error = FAILED, str(err)
            self.tasks.append(run)
            self.on_finish(run)
            return
        if is_dag:
            self._run_dag(run, component, values, prefix=f"{run.name}/")
        else:
            self._attempt(run, task, component, values)

    def _attempt(self, run: TaskRun, task: PipelineTaskSpec, component: ComponentSpec, inputs: Values) -> None:
        start, policy = time.perf_counter(), task.retry_policy
        wait = policy.backoff_duration.ToTimedelta().total_seconds()
        self.tasks.append(run)
        while run.state != SUCCEEDED and run.attempts <= policy.max_retry_count:
            if run.attempts:
                self.on_retry(run)
                time.sleep(min(wait, self.max_backoff_secs))
                wait *= policy.backoff_factor or 2.0
            run.attempts += 1
            self.on_start(run)
            try:
                run.outputs = self._execute(run, component, inputs)
                run.state, run.error = SUCCEEDED, ""
            except (TaskError, PlaceholderError) as err:
                run.state, run.error = FAILED, str(err)
            run.seconds = time.perf_counter() - start
        self.on_finish(run)

    def _execute(self, run: TaskRun, component: ComponentSpec, inputs: Values) -> Values:
        executor = self.specification.executors[component.executor_label]
        if executor.WhichOneof("spec") == "importer":
            return self._import(component, executor.importer, inputs)
        return self.launcher.run(component, executor.container, inputs, task_dir=self.run_dir / run.name)

    def _import(self, component: ComponentSpec, importer: Any, inputs: Values) -> Values:
        (name,) = component.output_definitions.artifacts
        uri = importer.artifact_uri
        parameter = uri.runtime_parameter
        text = inputs.parameters[parameter] if parameter else json_format.MessageToDict(uri.constant)
        artifact = {
            "name": f"artifacts/{name}",
            "uri": self.launcher.paths.local(text),
            "type": json_format.MessageToDict(importer.type_schema),
            "metadata": json_format.MessageToDict(importer.metadata),
        }
        return Values(artifacts={name: artifact})

    def _resolve(
        self, task: PipelineTaskSpec, component: ComponentSpec, inputs: Values, finished: Mapping[str, TaskRun]
    ) -> Values:
        values = Values(self.launcher.paths.local(defaults(component)))
        for name, source in task.inputs.parameters.items():
            found = _parameter(source, component.input_definitions.parameters[name], inputs, finished)
            if source.WhichOneof("kind") == "runtime_value":
                found = self.launcher.paths.local(found)
            if found is not _ABSENT:
                values.parameters[name] = found
        for name, source in task.inputs.artifacts.items():
            if source.component_input_artifact:
                if source.component_input_artifact in inputs.artifacts:  # else it is optional, and was not given
                    values.artifacts[name] = inputs.artifacts[source.component_input_artifact]
            else:
                output = source.task_output_artifact
                producer = finished[output.producer_task]
                values.artifacts[name] = _output(producer, output.output_artifact_key, producer.outputs.artifacts)
        return values


def _parameter(source: Any, definition: Any, inputs: Values, finished: Mapping[str, TaskRun]) -> Any:
    kind = source.WhichOneof("kind")
    if kind is None or source.parameter_expression_selector:
        raise TaskError("an input comes from nowhere, or from an item of a loop")
    if kind == "runtime_value":
        return json_format.MessageToDict(source.runtime_value.constant)
    if kind == "component_input_parameter":
        return inputs.parameters.get(source.component_input_parameter, _ABSENT)
    if kind == "task_final_status":
        status = _final_status(finished[source.task_final_status.producer_task])
        return json.dumps(status) if definition.parameter_type == ParameterType.STRING else status
    output = source.task_output_parameter
    producer = finished[output.producer_task]
    if output.output_parameter_key not in producer.outputs.parameters and definition.is_optional:
        return _ABSENT
    return _output(producer, output.output_parameter_key, producer.outputs.parameters)


def _is_triggered(task: PipelineTaskSpec, inputs: Values) -> bool:
    artifacts = {name: {"artifacts": [artifact]} for name, artifact in inputs.artifacts.items()}
    return holds(task.trigger_policy.condition, inputs.parameters, artifacts)


def _final_status(run: TaskRun) -> dict[str, Any]:
    """Returns a PipelineTaskFinalStatus (kfp's pipeline_spec.proto) as JSON values."""
    status: dict[str, Any] = {
        "state": run.state.upper().replace(" ", "_"),
        "pipelineJobResourceName": "projects/rehearsal/locations/local/pipelineJobs/rehearsal",
        "pipelineTaskName": run.name,
    }
    return status | ({"error": {"code": 9, "message": run.error}} if run.error else {"error": {}})


def _output(producer: TaskRun, key: str, outputs: Mapping[str, Any]) -> Any:
    if key not in outputs:
        raise TaskError(f"{producer.name} gave no {key}")
    return outputs[key]


def _dag_outputs(dag: DagSpec, finished: Mapping[str, TaskRun]) -> Values:
    """Collects what a DAG gives: of alternatives, such as the branches of a condition, the first that there is."""
    values = Values()
    for name, output in dag.outputs.parameters.items():
        selectors = list(output.value_from_oneof.parameter_selectors) or [output.value_from_parameter]
        for selector in reversed(selectors):
            found = finished.get(selector.producer_subtask, TaskRun("")).outputs.parameters
            if selector.output_parameter_key in found:
                values.parameters[name] = found[selector.output_parameter_key]
    for name, output in dag.outputs.artifacts.items():
        for selector in reversed(output.artifact_selectors):
            found = finished.get(selector.producer_subtask, TaskRun("")).outputs.artifacts
            if selector.output_artifact_key in found:
                values.artifacts[name] = found[selector.output_artifact_key]
    return values
