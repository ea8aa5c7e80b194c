import re
import shutil
from pathlib import Path
from typing import get_args

import pytest
import yaml

from pipeline import config, evaluator_config, trainer_config
from pipeline.config import load_config
from pipeline.config_errors import ConfigError
from pipeline.deployment_config import task_config


@pytest.fixture
def config_file(reference_config_file, project_root, tmp_path):
    """A copy of the reference config in another folder, with paths that lead to the same files."""
    text = Path(reference_config_file).read_text().replace("../../", f"{project_root}/")
    file = tmp_path / "pipeline.yaml"
    file.write_text(text)
    return file


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_reference_config_names_every_key_of_a_local_run(reference_config_file):
    deployment = {"image", "tasks", "vertex", "kubeflow"}

    def section(field):
        """The section that a field holds, if it is one by default."""
        return next((each for each in (field.annotation, type(field.default)) if hasattr(each, "model_fields")), None)

    def keys(model):
        return {
            name: keys(section(field)) if section(field) else None
            for name, field in model.model_fields.items()
            if name not in deployment
        }

    def named(tree):
        return {name: named(value) if isinstance(value, dict) and value else None for name, value in tree.items()}

    tree = yaml.safe_load(Path(reference_config_file).read_text())
    assert named(tree) == keys(config.PipelineConfig)


@pytest.mark.parametrize("target", ["vertex", "kubeflow"])
def test_profile_names_every_key_of_its_target(reference_config_file, target):
    tree = yaml.safe_load((Path(reference_config_file).parent / f"{target}.yaml").read_text())
    model = config.PipelineConfig.model_fields[target].annotation
    assert set(tree[target]) == set(model.model_fields)
    assert {"image", "tasks", "notification"} < set(tree)


@pytest.mark.parametrize("profile", ["vertex.yaml", "kubeflow.yaml"])
def test_profile_is_valid_with_and_without_its_variables(reference_config_file, profile, monkeypatch):
    file = str(Path(reference_config_file).parent / profile)
    for value in (None, "text-1"):
        for name in re.findall(r"\$\{(\w+)", Path(file).read_text()):
            special = {
                "VERTEX_SA_EMAIL": "runner@p.iam.gserviceaccount.com",
                "VERTEX_NETWORK": "projects/1/global/networks/vpc",
                "VERTEX_KMS_KEY": "projects/p/locations/l/keyRings/r/cryptoKeys/k",
                "SLUICE_WEBHOOK_URL": "https://hooks.example.com",
                "KF_PIPELINES_ENDPOINT": "https://ml.example.com",
            }
            monkeypatch.delenv(name, raising=False)
            if value:
                monkeypatch.setenv(name, special.get(name, value))
        loaded = load_config(file)
        assert loaded.trainer == load_config(reference_config_file).trainer
        assert loaded.image == value


def test_file_holds_what_differs_from_the_one_that_it_extends(config_file, tmp_path):
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "mine.yaml").write_text(
        f"extends: {config_file}\ntrainer: {{num_epochs: 9}}\n"
        "evaluator: {thresholds: [{metric: loss, upper_bound: 1}]}\n"
    )
    mine, base = load_config(str(other / "mine.yaml")), load_config(str(config_file))
    assert (mine.trainer.num_epochs, mine.trainer.seed) == (9, base.trainer.seed)
    assert [threshold.metric for threshold in mine.evaluator.thresholds] == ["loss"]
    assert mine.example_gen.input_dir == base.example_gen.input_dir


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("extends: mine.yaml", r"extends: mine.yaml extends this file in turn"),
        ("extends: [a]", r"extends: must be the path of a config. Received: \['a'\]"),
        ("extends: no.yaml", r"no.yaml: cannot be read: No such file"),
    ],
)
def test_file_that_cannot_be_extended_is_named(tmp_path, line, message):
    (tmp_path / "mine.yaml").write_text(line + "\n")
    with pytest.raises(ConfigError, match=message):
        load_config(str(tmp_path / "mine.yaml"))


def test_every_key_is_described():
    def sections(annotation):
        for each in (annotation, *get_args(annotation)):
            if each is not annotation:
                yield from sections(each)
            elif hasattr(each, "model_fields"):
                yield each
                for field in each.model_fields.values():
                    yield from sections(field.annotation)

    for section in sections(config.PipelineConfig):
        for name, field in section.model_fields.items():
            assert field.description or hasattr(field.annotation, "model_fields"), name


def test_sections_have_defaults(config_file):
    tree = yaml.safe_load(config_file.read_text())
    del tree["trainer"], tree["transform"], tree["published_trace"]
    config_file.write_text(yaml.safe_dump(tree))
    assert load_config(str(config_file)).trainer.num_epochs == 5


def test_config_is_frozen(reference_config_file):
    with pytest.raises(ValueError, match="frozen"):
        load_config(reference_config_file).trainer.num_epochs = 3


def test_relative_paths_start_from_the_file(config_file, reference_schema_file, monkeypatch, tmp_path):
    shutil.copy(reference_schema_file, tmp_path / "mine.pbtxt")
    edit(config_file, reference_schema_file, "mine.pbtxt")
    monkeypatch.chdir("/")
    assert load_config(str(config_file)).schema_gen.schema_file == str(tmp_path / "mine.pbtxt")


def test_relative_paths_of_overrides_start_from_the_working_directory(config_file, reference_csv, monkeypatch):
    monkeypatch.chdir(reference_csv.parents[1])
    loaded = load_config(str(config_file), ["example_gen.input_dir=data"])
    assert loaded.example_gen.input_dir == str(reference_csv.parent)


def test_overrides_replace_values(reference_config_file):
    loaded = load_config(
        reference_config_file,
        ["trainer.num_epochs=1", "evaluator.thresholds[0].lower_bound=0.999", "trainer.hidden_units=[8, 4]"],
    )
    assert loaded.trainer.num_epochs == 1
    assert loaded.evaluator.thresholds[0].lower_bound == 0.999
    assert loaded.trainer.hidden_units == (8, 4)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.num_epoch=1", r"--set: trainer.num_epoch: is not a known key.\nExpected one of: module_file, .*"
         r"Did you mean 'num_epochs'\?"),
        ("trainer.num_epochs=0", "--set: trainer.num_epochs: should be greater than or equal to 1. Received: 0."),
        ("trainer.num_epochs=many", "trainer.num_epochs: should be a valid integer.*Received: 'many'."),
        ("trainer.learning_rate=.nan", "trainer.learning_rate: should be .*finite number. Received: nan."),
        ("trainer.optimizer=Adam", r"'Adam' is not one of its values.\n.*Did you mean 'adam'\?"),
        ("trainer.early_stopping.monitor=loss",
         r"trainer.early_stopping.monitor: 'loss' is not one of its values.\nExpected one of: val_loss, "),
        ("trainer.early_stopping.monitor=val_cross_entropy",
         "trainer.early_stopping: monitors val_cross_entropy, but cross_entropy is not among trainer.metrics. Add it"),
        ("trainer.early_stopping.patience=0", "trainer.early_stopping.patience: should be greater than or equal to 1"),
        ("trainer.early_stopping.min_delta=-1", "trainer.early_stopping.min_delta: should be greater than or equal"),
        ("trainer.loss=hinge", "'hinge' is not one of its values.\nExpected one of: sparse_categorical_crossentropy"),
        ("evaluator.thresholds[0].metric=Accuracy",
         r"--set: evaluator.thresholds\[0\].metric: 'Accuracy' is not one of its values.\n"
         r"Expected one of: accuracy, balanced_accuracy, loss, .*calibration_error. Did you mean 'accuracy'\?"),
        ("evaluator.thresholds=[]", "evaluator.thresholds: .*at least 1 item"),
        ("evaluator.thresholds=[{metric: loss}]", r"thresholds\[0\]: has no bound. Give lower_bound, upper_bound"),
        ("evaluator.thresholds=[{metric: loss, lower_bound: 2, upper_bound: 1}]", "nothing passes: lower_bound is"),
        ("evaluator.thresholds=[{metric: loss, upper_bound: 1}, {metric: loss, lower_bound: 0, upper_bound: 2}]",
         "evaluator: thresholds set loss_upper_bound more than once"),
        ("evaluator.thresholds=[{metric: recall, lower_bound: 0.5}]",
         "recall is of one class or an average of all. Give"),
        ("evaluator.thresholds=[{metric: f1, class_name: hold, average: macro, lower_bound: 0}]",
         "Give class_name or average"),
        ("evaluator.thresholds=[{metric: loss, average: macro, upper_bound: 1}]",
         "loss is of all classes; leave out average"),
        ("evaluator.thresholds=[{metric: recall, class_name: Flush, lower_bound: 0.5}]",
         "evaluator: thresholds: 'Flush' is no class. Expected one of: hold, release, flush."),
        ("evaluator.thresholds=[{metric: accuracy, absolute_change: -0.1}]",
         "nothing decides on a first run: no threshold"),
        ("evaluator={baseline: none, thresholds: [{metric: loss, upper_bound: 1, relative_change: 0.1}]}",
         "baseline is none, with which absolute_change and relative_change have nothing to compare"),
        ("evaluator.thresholds[0].min_rows=10", "min_rows is of slices; data_gate.min_rows is of the whole split"),
        ("evaluator.thresholds[0].confidence=95", r"thresholds\[0\].confidence: should be less than 1"),
        ("evaluator.thresholds[0].slice={feature: wind, buckets: [1]}",
         "slice.feature: 'wind' is no feature of the schema. Expected one of: water_level_m, .*gate_action"),
        ("evaluator.thresholds[0].slice={feature: ph}",
         "'ph' is FLOAT, of which each value would be a slice. Give buckets"),
        ("evaluator.thresholds[0].slice={feature: ph, buckets: [8, 7]}", "slice: buckets must ascend. Received: 8, 7."),
        ("evaluator.thresholds[0].slice={feature: gate_action, buckets: [1], values: [1]}",
         "has values and buckets. Give one"),
        ("evaluator.thresholds[0].slice={feature: gate_action, values: [hold]}",
         "'gate_action' is INT, of which hold are not"),
        ("evaluator.thresholds[0].slice={feature: gate_action, values: [true]}",
         r"values\[0\]: should be a valid string"),
        ("evaluator.thresholds[0].slice={feature: gate_action, values: [1, 1]}", "slice: names a value twice"),
        ("evaluator.thresholds[0].lower_bound=95", r"thresholds\[0\]: accuracy lies between 0 and 1; the bound is 95"),
        ("notification.webhook_url=ftp://x", "notification.webhook_url: should match pattern"),
        ("notification.command=[' ']", "notification.command: its first word must name a program"),
        ("notification.events=[pushed, pushed]", "notification.events: names an event twice: pushed, pushed"),
        ("notification.events=[push]", "'push' is not one of its values"),
        ("schema_gen.schema_file=gs://bucket/schema.pbtxt", "there is no local file gs://bucket/schema.pbtxt."),
        ("trainer.num_epochs=true", "trainer.num_epochs: should be a valid integer. Received: True."),
        ("trainer.learning_rate=yes", "trainer.learning_rate: must be a number. Received: True."),
        ("trainer=null", "trainer: must be a section of 'key: value' lines. Received: None."),
        ("trainer.metrics=accuracy", "trainer.metrics: must be a list. Received: 'accuracy'."),
        ("trainer.num_epochs=1" + 5000 * "0", "--set trainer.num_epochs=1000.*: the value is not YAML."),
        ('label.class_names=["a\\nb", b, c]', r"label.class_names\[0\]: should match pattern"),
        ("label.key=ph", "label: the label 'ph' is FLOAT; it must be INT or BYTES.\n--set: label: the label 'ph'"),
        ("pipeline_name=My pipeline", "pipeline_name: .*pattern.*Received: 'My pipeline'."),
        ("example_gen.input_dir=nowhere", "example_gen.input_dir: there is no folder .*/nowhere."),
        ("schema_gen.schema_file=nowhere", "schema_gen.schema_file: there is no local file .*/nowhere."),
        ("trainer.module_file=nowhere.py", "trainer.module_file: there is no local file .*/nowhere.py."),
        ("label.key=foo", "--set: label: the label 'foo' is not a feature of the schema. Features: water_level_m,"),
        ("label.class_names=[a, b]", "label: 2 class names for the 3 values of the label 'gate_action': a, b."),
        ("trainer.num_epochs", "--set trainer.num_epochs: is not KEY=VALUE, for example trainer.num_epochs=1."),
        ("=1", "--set =1: is not KEY=VALUE"),
        ("trainer.num_epochs=[1", r"--set trainer.num_epochs=\[1: the value is not YAML."),
        ("evaluator.thresholds[9].metric=loss", "--set evaluator.*: the config has no such place."),
        ("pipeline_name.x=1", "--set pipeline_name.x=1: the config has no such place."),
    ],
)  # fmt: skip
def test_mistake_is_named_with_its_key(reference_config_file, override, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        load_config(reference_config_file, [override])


def test_early_stopping_may_monitor_a_metric_that_is_logged(reference_config_file):
    overrides = ["trainer.metrics=[cross_entropy]", "trainer.early_stopping={monitor: val_cross_entropy, patience: 9}"]
    early_stopping = load_config(reference_config_file, overrides).trainer.hyperparameters()["early_stopping"]
    assert early_stopping == {"monitor": "val_cross_entropy", "patience": 9, "min_delta": 0.0}


def test_mistake_in_the_file_is_named_with_the_file(config_file):
    edit(config_file, "num_epochs: 5", "num_epochs: -5")
    with pytest.raises(ConfigError, match=f"{config_file}: trainer.num_epochs: should be greater"):
        load_config(str(config_file))


def test_all_mistakes_are_reported_at_once(config_file):
    edit(config_file, "num_epochs: 5", "num_epoch: 5")
    edit(config_file, "key: gate_action", "key: foo")
    edit(config_file, "metric: accuracy", "metric: acuracy")
    edit(config_file, "pipeline_name: reference\n", "")
    with pytest.raises(ConfigError) as error:
        load_config(str(config_file))
    for key in ("trainer.num_epoch:", "label:", "evaluator.thresholds[0].metric:", "pipeline_name: is missing"):
        assert f"{config_file}: {key}" in str(error.value)
    assert "at least 1 item" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "line [12]: is not YAML"),
        (b"a: 1\na: 2\n", "line 2: is not YAML: the key 'a' is there more than once"),
        (b"- a\n", "holds no 'key: value' lines"),
        (b"", "holds no 'key: value' lines"),
        (b"a: \xff", "is not UTF-8 text"),
        (b"a: !!python/object/apply:os.system [ls]", "line 1: is not YAML: could not determine a constructor"),
    ],
)
def test_file_that_is_no_config_is_refused(tmp_path, content, message):
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{file}: {message}"):
        load_config(str(file))


def test_missing_file_is_named():
    with pytest.raises(ConfigError, match=r"nowhere.yaml: cannot be read: No such file or directory."):
        load_config("nowhere.yaml")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def run_fn(:", "module.py line 1: is not Python: invalid syntax"),
        ("def train(): pass", "module.py does not define run_fn."),
    ],
)
def test_module_file_without_its_function_is_refused(reference_config_file, tmp_path, source, message):
    (tmp_path / "module.py").write_text(source)
    with pytest.raises(ConfigError, match=message):
        load_config(reference_config_file, [f"trainer.module_file={tmp_path}/module.py"])


@pytest.mark.parametrize(
    "source",
    ["def run_fn(x): pass", "from x import run_fn", "from x import *", "run_fn = print", "if 1:\n def run_fn(x): pass"],
)
def test_module_file_may_bind_its_function_in_any_way(reference_config_file, tmp_path, source):
    (tmp_path / "module.py").write_text(source)
    load_config(reference_config_file, [f"trainer.module_file={tmp_path}/module.py"])


def test_empty_data_folder_is_refused(reference_config_file, tmp_path):
    with pytest.raises(ConfigError, match=rf"the folder {tmp_path} has no \*.csv file in it"):
        load_config(reference_config_file, [f"example_gen.input_dir={tmp_path}"])


def test_choices_are_what_keras_and_the_components_know():
    keras = pytest.importorskip("keras")
    from components.evaluator import rules
    from components.trainer.model import LOSSES, METRICS

    assert [type(keras.optimizers.get(name)).__name__.lower() for name in get_args(trainer_config.Optimizer)] == list(
        get_args(trainer_config.Optimizer)
    )
    assert set(get_args(trainer_config.Loss)) == set(LOSSES)
    assert set(get_args(trainer_config.TrainingMetric)) == set(METRICS)
    assert set(get_args(trainer_config.Monitor)) == {"val_loss", *(f"val_{metric}" for metric in METRICS)}
    assert get_args(evaluator_config.GateMetric) == tuple(rules.METRICS)


def test_readme_explains_every_key(project_root):
    readme = (project_root / "README.md").read_text()

    def leaves(model, prefix=""):
        for name, field in model.model_fields.items():
            if hasattr(field.annotation, "model_fields") and name not in (
                "split_buckets",
                "min_rows",
                "min_rows_per_class",
            ):
                yield from leaves(field.annotation, f"{prefix}{name}.")
            else:
                yield prefix + name

    table = "\n".join(line for line in readme.splitlines() if line.startswith("| `"))
    missing = [key for key in leaves(config.PipelineConfig) if f"`{key}`" not in table
               and f"`{key.rpartition('.')[2]}`" not in table]  # fmt: skip
    assert missing == []


def test_variables_of_the_environment_stand_in_values(config_file, monkeypatch):
    edit(config_file, "enable_cache: true", "image: ${REGISTRY}/sluice:${TAG:-latest}")
    monkeypatch.setenv("REGISTRY", "example.com")
    assert load_config(str(config_file)).image == "example.com/sluice:latest"
    monkeypatch.setenv("TAG", "7")
    assert load_config(str(config_file)).image == "example.com/sluice:7"
    monkeypatch.delenv("REGISTRY")
    assert load_config(str(config_file)).image is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "tasks.Trainr.cpu=4",
            r"tasks.Trainr.*'Trainr' is no task of the pipeline. Expected one of: default,",
        ),
        (
            "tasks.Trainer.cpux=4",
            r"tasks.Trainer.cpux: is not a known key.\nExpected .*Did you mean 'cpu'",
        ),
        ("tasks.Trainer.memory=lots", r"tasks.Trainer.memory: .* Received: 'lots'"),
        ("tasks.Trainer.max_retries=-1", r"tasks.Trainer.max_retries: .* Received: -1"),
        ("vertex.pipeline_root=/data", r"vertex.pipeline_root: .* Received: '/data'"),
        ("vertex.service_account=me", r"vertex.service_account: .* Received: 'me'"),
        ("vertex.training.machine=n1", r"vertex.training.machine: is not a known key.\nExpected one of: machine_type"),
        ("vertex.schedule.cron=daily", r"vertex.schedule.cron: .* Received: 'daily'"),
        ("kubeflow.host=ml.example.com", r"kubeflow.host: .* Received: 'ml.example.com'"),
        ("kubeflow.input_dir=/data/rows", r"kubeflow: input_dir /data/rows lies on none of the volumes"),
    ],
)
def test_deployment_mistakes_are_named(reference_config_file, override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(reference_config_file, [override])


def test_task_takes_what_it_leaves_out_from_the_default(reference_config_file):
    overrides = ["tasks.default.cpu=1", "tasks.default.max_retries=2", "tasks.Trainer.cpu=4"]
    tasks = load_config(reference_config_file, overrides).tasks
    assert task_config(tasks, "Trainer").model_dump(exclude_unset=True) == {"cpu": "4", "max_retries": 2}
    assert task_config(tasks, "Pusher").cpu == "1"


def test_mistakes_of_several_overrides_are_reported_at_once(reference_config_file):
    overrides = ["trainer.seed=x", "evaluator.thresholds[9].metric=loss", "bogus"]
    with pytest.raises(ConfigError) as error:
        load_config(reference_config_file, overrides)
    for message in ("thresholds[9].metric=loss: the config has no", "--set bogus: is not KEY", "trainer.seed: should"):
        assert message in str(error.value)


def test_merge_keys_of_yaml_work(config_file):
    edit(config_file, "trainer:\n", "trainer:\n  <<: {dummy: 1}\n")
    with pytest.raises(ConfigError, match=r"trainer.dummy: is not a known key"):
        load_config(str(config_file))


def test_unreadable_schema_is_named_where_it_is_set(reference_config_file, tmp_path):
    (tmp_path / "broken.pbtxt").write_text("feature {")
    with pytest.raises(ConfigError, match=r"--set: schema_gen.schema_file: .*broken.pbtxt is not a readable schema"):
        load_config(reference_config_file, [f"schema_gen.schema_file={tmp_path}/broken.pbtxt"])


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"a,b,a\n", "rows.csv line 1: 'a' is there twice."),
        (b"\xef\xbb\xbfa,b\n", "rows.csv line 1: begins with a byte order mark"),
        (b'"a","b"\n', "rows.csv line 1: has quotes"),
        (b"\xff\n", "rows.csv line 1: is not UTF-8 text."),
    ],
)
def test_header_that_would_be_misread_is_refused(reference_config_file, tmp_path, header, message):
    (tmp_path / "rows.csv").write_bytes(header)
    with pytest.raises(ConfigError, match=message):
        load_config(reference_config_file, ["example_gen.executor=csv", f"example_gen.input_dir={tmp_path}"])


def test_folder_with_the_name_of_a_csv_file_is_refused(reference_config_file, tmp_path):
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(ConfigError, match=r"rows.csv is a folder."):
        load_config(reference_config_file, [f"example_gen.input_dir={tmp_path}"])


def test_folder_that_beam_would_read_as_a_pattern_is_refused(reference_config_file, tmp_path):
    (tmp_path / "a[1]").mkdir()
    with pytest.raises(ConfigError, match=r"holds one of \* \? \[, which Beam reads as patterns"):
        load_config(reference_config_file, [f"example_gen.input_dir={tmp_path}/a[1]"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["example_gen.pattern=."], r"example_gen.pattern: should match pattern"),
        (["example_gen.pattern=span-{FOO}/*.csv"], r"\{FOO\} in 'span-\{FOO\}/\*.csv' stands for nothing"),
        (["example_gen.pattern=v{VERSION}/*.csv"], r"has a \{VERSION\} without a \{SPAN\}"),
        (["example_gen.span=3"], r"example_gen.span: there is no \{SPAN\} in example_gen.pattern"),
        (["example_gen.pattern=span-{SPAN:2}/*.csv", "example_gen.span=7"], r"has no span-07/\*.csv file in it"),
        (["tasks.Trainer.memory=16k"], r"should match pattern '.*\[KMGTP\].*'. Received: '16k'"),
        (["tasks.Trainer.backoff_secs=1000000000000"], r"backoff_secs: should be less than or equal to 3600"),
        (["image=a b"], r"image: should match pattern .* Received: 'a b'"),
    ],
)
def test_values_that_would_fail_later_are_refused(reference_config_file, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(reference_config_file, overrides)


def test_variable_may_hold_a_number(config_file, monkeypatch):
    edit(config_file, "num_epochs: 5", "num_epochs: ${EPOCHS}")
    monkeypatch.setenv("EPOCHS", "7")
    assert load_config(str(config_file)).trainer.num_epochs == 7


@pytest.mark.parametrize("text", ["${A-b}", "${A:?no}", "${A"])
def test_variable_that_is_no_variable_is_refused(config_file, text):
    edit(config_file, "enable_cache: true", f"image: '{text}'")
    with pytest.raises(ConfigError, match=r"holds a \$\{ that is not of the form \$\{NAME\} or \$\{NAME:-text\}"):
        load_config(str(config_file))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["split={by: key}"], "by: key needs keys"),
        (["split={by: row, keys: [a]}"], "keys is not for by: row"),
        (["split={by: key, keys: [ph], stratify: true}"], "stratify is not for by: key"),
        (["split={by: column, column: fold, values: {train: [a]}}"], "values must be given for train and for eval"),
        (["split={by: column, column: f, values: {train: [1], eval: [1]}}"], "values names '1' twice"),
        (["split={by: time, column: day, ends: {eval: 2024-01-01}}"], "ends must be {train: TIME}, for two splits"),
        (["split={by: time, column: day, ends: {train: soon}}"], "ends.train: 'soon' is not a time in ISO 8601"),
        (["split={by: time, column: d, ends: {train: 2024-02-01, eval: 2024-01-01}}"], "ends must ascend"),
        (["encoding=utf-9"], "Did you mean 'utf-8'"),
        (["delimiter=;;"], "example_gen.delimiter"),
        (["executor=csv", "bad_rows=quarantine"], "executor: csv, TFX's own, knows nothing of bad_rows"),
        (["executor=csv", "split={by: row, stratify: true}"], "executor: csv, TFX's own, knows nothing of split"),
        (["ignore_columns=[ph]"], "ignore_columns: 'ph' is a feature of the schema"),
        (["max_bad_rows=2"], "max_bad_rows"),
        (["split_buckets={train: 2, eval: 1, test: 0}"], "split_buckets.test"),
    ],
)
def test_mistake_in_how_rows_are_read_is_named(reference_config_file, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(reference_config_file, [f"example_gen.{each}" for each in overrides])


@pytest.mark.parametrize(
    ("override", "splits"),
    [
        ("split_buckets={train: 7, eval: 2, test: 1}", ("train", "eval", "test")),
        ("split={by: column, column: f, values: {eval: [1], train: [2], test: [3]}}", ("train", "eval", "test")),
        ("split={by: time, column: d, ends: {train: 2024-01-01}}", ("train", "eval")),
        (
            "split={by: time, column: d, ends: {train: 2024-01-01, eval: 2024-02-01T12:00:00Z}}",
            ("train", "eval", "test"),
        ),
    ],
)
def test_splits_follow_from_what_decides(reference_config_file, override, splits):
    config = load_config(reference_config_file, [f"example_gen.{override}"])
    assert config.example_gen.splits == splits
    settings = config.example_gen_settings()
    assert settings.splits == splits
    assert type(settings).from_json(settings.to_json()) == settings


def test_rows_are_materialized_for_a_module_file_of_ones_own(reference_config_file, tmp_path):
    ours = Path(config.PipelineConfig.model_fields["trainer"].default.module_file)
    copy, changed = tmp_path / "copy.py", tmp_path / "changed.py"
    copy.write_bytes(ours.read_bytes())
    changed.write_bytes(ours.read_bytes() + b"# mine\n")

    def materialize(module_file, setting="auto"):
        overrides = [f"trainer.module_file={module_file}", f"transform.materialize={setting}"]
        return load_config(reference_config_file, overrides).materialize

    assert [materialize(file) for file in (ours, copy, changed)] == [False, False, True]
    assert [materialize(ours, "true"), materialize(changed, "false")] == [True, False]


def test_runner_on_other_machines_gets_the_stock_component(reference_config_file):
    flink = "beam={runner: flink, flink: {job_endpoint: 'localhost:8099', environment_type: LOOPBACK}}"
    local, spread = (load_config(reference_config_file, overrides) for overrides in ([], [flink]))
    assert local.executor_of("Transform", "columnar") == "columnar"
    assert local.executor_of("Transform", "stock") == "stock"
    assert spread.executor_of("Transform", "columnar") == "stock"
