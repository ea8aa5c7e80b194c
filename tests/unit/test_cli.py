import re
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from pipeline.cli import main


def test_help_of_every_command_has_an_example():
    for name in main.commands:
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0
        assert re.search(rf"^ +sluice {name}", result.output, re.MULTILINE)


def test_help_of_run_has_the_exit_codes_in_lines_of_their_own():
    output = CliRunner().invoke(main, ["run", "--help"]).output
    assert re.search(
        r"^ +Exit codes: 0 pushed, or nothing to do +1 failed +2 wrong usage or config +3 model", output, re.M
    )


def test_validate_says_what_the_pipeline_is(reference_config_file):
    result = CliRunner().invoke(main, ["validate", reference_config_file])
    assert result.exit_code == 0
    assert (
        "10 numeric and 0 categorical features, label gate_action with 3 classes (hold, release, flush)"
        in result.output
    )


@pytest.mark.parametrize("command", ["run", "validate"])
def test_wrong_config_exits_2_with_the_mistake(command, reference_config_file):
    result = CliRunner().invoke(main, [command, reference_config_file, "--set", "trainer.num_epochs=0"])
    assert result.exit_code == 2
    assert "ConfigError: --set: trainer.num_epochs: should be greater than or equal to 1" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "Training"], "'Training' is not one of 'ExampleGen', 'SchemaGen'"),
        (["--from", "Trainer", "--no-cache"], "--no-cache executes every component; leave out --from."),
    ],
)
def test_wrong_from_exits_2_before_anything_is_loaded(arguments, message):
    result = CliRunner().invoke(main, ["run", *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_unknown_option_exits_2():
    assert CliRunner().invoke(main, ["run", "--fast"]).exit_code == 2


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["submit", "--help"], ["validate"]])
def test_light_commands_import_neither_tensorflow_nor_tfx_nor_a_cloud_s_client(arguments, tmp_path):
    script = (
        "import sys; from pipeline.cli import main\n"
        f"try: main({arguments!r})\n"
        "finally: print(sorted({'tensorflow', 'tfx', 'keras', 'apache_beam', 'kfp', 'grpc'} & set(sys.modules)))"
    )
    start = time.perf_counter()
    output = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True, text=True)
    print(f"sluice {' '.join(arguments)}: {time.perf_counter() - start:.2f} s")
    assert output.stdout.splitlines()[-1] == "[]"


def test_root_that_beam_would_read_as_a_pattern_exits_2(tmp_path):
    result = CliRunner().invoke(main, ["run", "--root", str(tmp_path / "a[1]")])
    assert result.exit_code == 2
    assert "holds one of * ? [, which Beam reads as patterns" in result.stderr


def test_root_that_cannot_be_made_exits_2(tmp_path):
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(main, ["run", "--root", str(tmp_path / "file" / "output")])
    assert result.exit_code == 2
    assert "cannot be made: Not a directory." in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compile", "--target", "vertex", "--output", "job.json"], "--output job.json: is the YAML; a PipelineJob is"),
        (["compile", "--target", "vertex", "--image", " "], "--image is empty."),
        (["compile"], "Missing option '--target'"),
        (["compile", "--target", "airflow"], "'airflow' is not one of 'vertex', 'kubeflow'"),
        (["submit", "--target", "vertex", "--image", ""], "--image is empty."),
    ],
)
def test_wrong_use_of_the_deployment_commands_is_refused(arguments, message):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert message in result.output
