"""Reads a YAML file into a pydantic model and says everything that is wrong with it. Runs at compile time."""

import ast
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    ValidationInfo,
)

from components.example_gen.header import header_problems
from components.example_gen.input_files import any_span, span_number, with_span
from pipeline.config_errors import LONGEST_VALUE, ConfigError, dotted, explain, leaves
from pipeline.yaml_file import LARGEST_CONFIG, parse_document, read_text

Model = TypeVar("Model", bound=BaseModel)
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


class _Text(str):
    """Text of a file: a path in it is relative to the file's folder, and not to the working directory."""

    base_dir: str
    has_variables: bool


def absolute_path(value: Any) -> Any:
    """Returns a local path as an absolute one; anything else as it is."""
    if not isinstance(value, str) or "://" in value or not value:
        return value
    base_dir = value.base_dir if isinstance(value, _Text) else os.getcwd()
    return os.path.normpath(os.path.join(base_dir, os.path.expanduser(value)))


def reject_bool(value: Any) -> Any:
    """Refuses YAML's `true` and `yes` for a number, which pydantic takes as 1."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number. Received: {value}.")
    return value


def as_text(value: Any) -> Any:
    """Returns a number as text, for what YAML takes for a number; anything else as it is."""
    return str(value) if type(value) in (int, float) else value


def _number_from_variable(value: Any) -> Any:
    return int(value) if isinstance(value, _Text) and value.has_variables and value.isdecimal() else value


Count = Annotated[int, BeforeValidator(_number_from_variable), Strict()]  # strict: `true` is no number
Number = Annotated[float, BeforeValidator(reject_bool)]
Executor = Literal["columnar", "stock"]  # of a component that has one in memory beside TFX's own on Beam


class Section(BaseModel):
    """A section of the config: read-only, and without keys of which it knows nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _existing_file(path: str) -> str:
    if not os.path.isfile(path):
        raise ValueError(f"there is no local file {path}.")
    if not os.access(path, os.R_OK):
        raise ValueError(f"{path} may not be read.")
    return path


def _dir_with_files(path: str, info: ValidationInfo) -> str:
    if "://" in path:
        return path
    if not os.path.isdir(path):
        raise ValueError(f"there is no folder {path}.")
    if set("*?[") & set(path):
        raise ValueError(f"{path} holds one of * ? [, which Beam reads as patterns.")
    pattern = info.data.get("pattern", "*.csv")
    span = info.data.get("span")
    pattern = any_span(pattern) if span is None else with_span(pattern, span_number(span))
    files = sorted(Path(path).glob(pattern))
    if not files:
        raise ValueError(f"the folder {path} has no {pattern} file in it.")
    if folders := [file for file in files if file.is_dir()]:
        raise ValueError("\n".join(f"{folder} is a folder. Set example_gen.pattern." for folder in folders))
    if info.data.get("executor") == "csv" and (
        problems := [problem for file in files for problem in header_problems(file)]
    ):
        raise ValueError("\n".join(problems))
    return path


def _check_span_pattern(pattern: str) -> str:
    if ".." in pattern.split("/") or not pattern.isprintable():
        raise ValueError(f"{pattern!r} must stay under input_dir: no .. and no control characters.")
    if unknown := re.findall(r"\{(?!SPAN(?::\d+)?\}|VERSION(?::\d+)?\}|YYYY\}|MM\}|DD\})[^}]*\}?", pattern):
        expected = "Expected {SPAN}, {VERSION}, or {YYYY}, {MM} and {DD}."
        raise ValueError(f"{', '.join(unknown)} in '{pattern}' stands for nothing. {expected}")
    parts = [name for name in ("{YYYY}", "{MM}", "{DD}") if name in pattern]
    if "{VERSION" in pattern and "{SPAN" not in pattern and not parts:
        raise ValueError(f"'{pattern}' has a {{VERSION}} without a {{SPAN}}.")
    if len(parts) not in (0, 3) or any(pattern.count(name) > 1 for name in (*parts, "{SPAN", "{VERSION")):
        raise ValueError(f"'{pattern}' must have each of {{YYYY}}, {{MM}} and {{DD}} once, or none of them.")
    if parts and "{SPAN" in pattern:
        raise ValueError(f"'{pattern}' has a {{SPAN}} and a date; a span is one or the other.")
    return pattern


SpanPattern = Annotated[str, Field(pattern=r"^[^/.].*$", max_length=250), AfterValidator(_check_span_pattern)]
InputFile = Annotated[str, BeforeValidator(absolute_path), AfterValidator(_existing_file)]
InputDir = Annotated[str, BeforeValidator(absolute_path), AfterValidator(_dir_with_files)]


def defines(function: str) -> AfterValidator:
    """Returns the check that a path leads to a Python file which defines `function`."""

    def check(path: str) -> str:
        """Returns `path`; raises ValueError if the file is no Python or lacks the function."""
        try:
            names = _bound_names(ast.parse(Path(path).read_bytes(), path))
        except SyntaxError as err:
            raise ValueError(f"{path} line {err.lineno}: is not Python: {err.msg}.") from err
        if not {function, "*"} & names:
            raise ValueError(f"{path} does not define {function}.")
        return path

    return AfterValidator(check)


def _bound_names(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def read_config(model: type[Model], config_file: str, overrides: Sequence[str]) -> Model:
    """Reads `config_file`, applies `overrides` (`dotted.key[0].name=value`) and validates the result.

    `${NAME}` in a value of the file stands for that environment variable and `${NAME:-text}` for `text` where it is not
    set; a value with a variable that is not set and has no such text is null. A file with `extends: OTHER` holds what
    differs from that file.

    Raises:
        ConfigError: If the file cannot be read, an override cannot be applied, or the result is not valid.
    """
    tree = _read_tree(config_file)
    overridden, problems = _apply(overrides, tree)
    try:
        config = model.model_validate(tree)
    except ValidationError as err:
        for error in leaves(err.errors()):
            key = dotted(error["loc"])
            is_overridden = any(key.startswith(o) or o.startswith(key) for o in overridden)
            source = "--set" if is_overridden else config_file
            problems += [f"{source}: {key}: {line}" for line in explain(error, model)]
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def _read_yaml(config_file: str) -> dict[str, Any]:
    try:
        tree = parse_document(read_text(Path(config_file), LARGEST_CONFIG))
    except OSError as err:
        raise ConfigError(f"{config_file}: cannot be read: {err.strerror}.") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{config_file}: is not UTF-8 text.") from err
    except yaml.MarkedYAMLError as err:
        line = f"line {err.problem_mark.line + 1}: " if err.problem_mark else ""
        raise ConfigError(f"{config_file}: {line}is not YAML: {err.problem}.") from err
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        raise ConfigError(f"{config_file}: is not YAML: {err}.") from err
    if not isinstance(tree, dict):
        raise ConfigError(f"{config_file}: holds no 'key: value' lines.")
    return tree


def _read_tree(config_file: str, extending: Sequence[str] = ()) -> dict[str, Any]:
    base_dir = os.path.dirname(os.path.abspath(config_file))
    try:
        tree = _expand(_read_yaml(config_file), base_dir)
    except ConfigError as err:
        raise err if str(err).startswith(config_file) else ConfigError(f"{config_file}: {err}") from err
    base = tree.pop("extends", None)
    if base is None:
        return tree
    if not isinstance(base, str) or not base or "\0" in base:
        raise ConfigError(f"{config_file}: extends: must be the path of a config. Received: {base!r}.")
    base_file = os.path.join(base_dir, os.path.expanduser(base))
    if os.path.realpath(base_file) in extending:
        raise ConfigError(f"{config_file}: extends: {base} extends this file in turn.")
    return _merge(_read_tree(base_file, (*extending, os.path.realpath(config_file))), tree)


def _merge(base: dict[str, Any], tree: dict[str, Any]) -> dict[str, Any]:
    both = {key: _merge(base[key], value) for key, value in tree.items()
            if isinstance(value, dict) and isinstance(base.get(key), dict)}  # fmt: skip
    return {**base, **tree, **both}


def _expand(value: Any, base_dir: str) -> Any:
    """Puts the environment's variables into every text of `value`."""
    if isinstance(value, dict):
        return {key: _expand(item, base_dir) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, base_dir) for item in value]
    if not isinstance(value, str):
        return value
    if "${" in _VARIABLE.sub("", value):
        raise ConfigError(f"'{value}' holds a ${{ that is not of the form ${{NAME}} or ${{NAME:-text}}.")
    texts = {name: os.environ.get(name) or default for name, default in _VARIABLE.findall(value)}
    if not all(texts.values()):
        return None
    text = _Text(_VARIABLE.sub(lambda match: texts[match[1]], value))
    text.base_dir, text.has_variables = base_dir, bool(texts)
    return text


def _apply(overrides: Sequence[str], tree: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Puts overrides into `tree`; returns their dotted keys, and what is wrong with those that could not be."""
    overridden, problems = [], []
    for override in overrides:
        try:
            overridden.append(_override(tree, override))
        except ConfigError as err:
            problems.append(str(err))
    return overridden, problems


def _override(tree: dict[str, Any], override: str) -> str:
    key, equals, text = override.partition("=")
    path = [int(part) if part.isdecimal() else part for part in re.findall(r"[^.\[\]]+", key)]
    if not equals or not path:
        raise ConfigError(f"--set {override}: is not KEY=VALUE, for example trainer.num_epochs=1.")
    try:
        value = parse_document(text)
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        raise ConfigError(f"--set {override[:LONGEST_VALUE]}: the value is not YAML.") from err
    parent: Any = tree
    try:
        for part in path[:-1]:
            if isinstance(parent, dict) and parent.get(part) is None:
                parent[part] = {}  # null, in the file, is a section that is left out
            parent = parent[part]
        parent[path[-1]] = value
    except (TypeError, IndexError) as err:
        raise ConfigError(f"--set {override}: the config has no such place.") from err
    return dotted(path)
