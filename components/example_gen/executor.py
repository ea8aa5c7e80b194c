"""Reads tables in columns, checks, splits and writes them as tf.Examples. Runs in ExampleGen's process.

One Beam element is one file; what comes back from a worker goes through a small file, since on a distant runner nothing
else does.
"""

import itertools
import json
import logging
import os
import posixpath
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from tfx import types
from tfx.components.example_gen import utils, write_split
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.data_gate import DataRefusedError
from components.example_gen import SETTINGS, splits
from components.example_gen.duplicates import count_duplicates, rows_digest
from components.example_gen.faults import MOST_EXAMPLES
from components.example_gen.input_files import find_files
from components.example_gen.input_report import QUARANTINE_FILE, InputReport, write_report
from components.example_gen.settings import Settings
from components.example_gen.shards import Result, hash_file, open_file, write_shards

_STAGING_DIR = ".staging"
_ADVICE = (
    "Correct the data, or set example_gen.bad_rows: quarantine to leave such rows out, up to example_gen.max_bad_rows."
)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Writes every sound row as a tf.Example of its split, in TFX's own layout; refuses the data otherwise."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the output `examples`, with `input.json` and, if rows were left out, `quarantine.jsonl` beside them.

        Raises:
            DataRefusedError: If a file or a row cannot be read as the schema says; the message has a line for each
                problem.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(output_dict[standard_component_specs.EXAMPLES_KEY])
        settings = Settings.from_json(exec_properties[SETTINGS])
        staging_dir = _make_staging_dir(examples.uri)
        results: list[Result] = []
        names: list[str] = []
        for name, files, of_input in _inputs(exec_properties, settings):
            names += of_input.splits
            found = self._write(files, of_input, staging_dir)
            results += found
            logging.info("%s: %d files read.", name, len(found))
        report = _report(results, names, settings)
        _commit(results, names, examples.uri, settings)
        write_report(report, examples.uri)
        fileio.rmtree(staging_dir)
        examples.split_names = artifact_utils.encode_split_names(names)
        examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(examples, write_split.to_file_format_str(example_gen_pb2.FORMAT_TFRECORDS_GZIP))

    def _write(self, files: Sequence[str], settings: Settings, staging_dir: str) -> list[Result]:
        codes: Mapping[str, str] = {}
        if settings.is_stratified:
            hashed = self._on_workers(files, lambda file: hash_file(file, settings, staging_dir), staging_dir, "hash")
            codes = _stratify(hashed, settings, staging_dir)
        return self._on_workers(
            files, lambda file: write_shards(file, settings, staging_dir, codes.get(file, "")), staging_dir, "write"
        )

    def _on_workers(
        self, files: Sequence[str], work: Callable[[str], Result], staging_dir: str, step: str
    ) -> list[Result]:
        """Runs `work` on each file; returns the results in the files' order."""
        results_file = os.path.join(staging_dir, f"{step}-results")
        with self._make_beam_pipeline() as pipeline:
            # Without the shuffle one worker would read all files.
            shuffled = pipeline | beam.Create(list(files)) | beam.Reshuffle()
            lines = shuffled | beam.Map(lambda file: json.dumps(work(file)))
            _ = lines | beam.io.WriteToText(results_file)
        shards = [each.path for each in FileSystems.match([f"{results_file}-*"])[0].metadata_list]
        found = [json.loads(line) for shard in shards for line in _read(shard).splitlines()]
        return sorted(found, key=lambda result: list(files).index(result["file"]))


def _make_staging_dir(examples_dir: str) -> str:
    """Makes the folder of files that are not examples yet; removes what an earlier try of the task left."""
    staging_dir = os.path.join(examples_dir, _STAGING_DIR)
    for left in (staging_dir, *fileio.glob(os.path.join(examples_dir, "Split-*"))):
        if fileio.exists(left):
            fileio.rmtree(left)
    fileio.makedirs(staging_dir)
    return staging_dir


def _inputs(exec_properties: Mapping[str, Any], settings: Settings) -> list[tuple[str, list[str], Settings]]:
    """Returns the files of each input split, and into which splits they go.

    Raises:
        DataRefusedError: If there is no file.
    """
    input_config, output_config = example_gen_pb2.Input(), example_gen_pb2.Output()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], input_config)
    proto_utils.json_to_proto(exec_properties[standard_component_specs.OUTPUT_CONFIG_KEY], output_config)
    input_base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
    names = utils.generate_output_split_names(input_config, output_config)
    inputs = []
    for split in input_config.splits:
        pattern = posixpath.join(input_base, split.pattern)
        found = sorted(fileio.glob(pattern))
        if settings.num_spans != 1:
            span = exec_properties[utils.SPAN_PROPERTY_NAME]
            found = find_files(input_base, settings.pattern, span=span, num_spans=settings.num_spans, glob=fileio.glob)
        hidden = () if split.pattern.startswith(("_", ".")) else ("_", ".")
        files = [file for file in found if not posixpath.basename(file).startswith(hidden)]
        if not files:
            raise DataRefusedError(f"there is no file {pattern}.")
        of_input = settings
        if not output_config.split_config.splits:  # each input is a split of its own
            (name,) = (name for name in names if name == split.name)
            of_input = settings.with_splits((name,), (1,))
        inputs.append((split.name, files, of_input))
    return inputs


def _stratify(hashed: Sequence[Result], settings: Settings, staging_dir: str) -> dict[str, str]:
    """Writes the split of each row of each file; returns the name of the file that says so, by file."""
    hashes = [np.frombuffer(_read(result["hashes"]), np.uint64) for result in hashed]
    classes = [np.frombuffer(_read(result["classes"]), np.uint64) for result in hashed]
    codes = splits.stratified(np.concatenate(hashes), np.concatenate(classes), settings.buckets)
    found = {}
    ends = np.cumsum([len(each) for each in hashes])
    for index, (result, part) in enumerate(zip(hashed, np.split(codes, ends[:-1]), strict=True)):
        found[result["file"]] = os.path.join(staging_dir, f"codes-{index}")
        with FileSystems.create(found[result["file"]]) as stream:
            stream.write(part.tobytes())
    return found


def _report(results: Sequence[Result], names: Sequence[str], settings: Settings) -> InputReport:
    """Returns what was read.

    Raises:
        DataRefusedError: If any of it cannot be used.
    """
    refusals = [problem for result in results for problem in result["problems"]]
    faults = [fault for result in results for fault in result["faults"]]
    num_bad = sum(result["num_bad"] for result in results)
    rows = {name: sum(result["rows"].get(name, 0) for result in results) for name in names}
    total = sum(rows.values()) + num_bad
    if settings.quarantines and not refusals and num_bad > settings.max_bad_rows * total:
        share = f"{num_bad} of {total} rows have faults, more than example_gen.max_bad_rows: {settings.max_bad_rows:g}"
        refusals += [f"{share}.", *_quarantined_reasons(results)]
    refusals += faults
    if not refusals:
        refusals += _empty(rows, num_bad)
    if refusals:
        raise DataRefusedError("\n".join(refusals), advice=_ADVICE if faults else "")
    duplicates = count_duplicates([result["hashes"] for result in results])
    return InputReport(
        num_files=len(results),
        rows=rows,
        num_quarantined=num_bad,
        duplicate_rows=duplicates.count,
        duplicate_row_examples=_examples(duplicates.examples, results),
        ids=settings.ids,
        duplicate_ids=(ids := count_duplicates([result["ids"] for result in results])).count,
        duplicate_id_examples=_examples(ids.examples, results),
        notes=tuple(note for result in results for note in result["notes"]),
        digest=rows_digest([result["hashes"] for result in results]),
    )


def _empty(rows: Mapping[str, int], num_bad: int) -> list[str]:
    if not any(rows.values()):
        return [f"there are no rows{' without faults' * bool(num_bad)} in the files."]
    return [
        f"the {name} split has no rows; there are {sum(rows.values())} in all. Give more data, or other shares or "
        "values to example_gen.split_buckets or example_gen.split."
        for name, count in rows.items()
        if not count
    ]


def _quarantined_reasons(results: Sequence[Result]) -> list[str]:
    files = [result["quarantine"] for result in results if result["quarantine"]]
    rows: list[dict[str, Any]] = []
    for file in files:
        with open_file(file) as stream:
            rows += map(json.loads, itertools.islice(stream, MOST_EXAMPLES - len(rows)))
    return [f"{row['place']}: {'; '.join(row['reasons'])}." for row in rows]


def _examples(pairs: Sequence[tuple[tuple[int, int], tuple[int, int]]], results: Sequence[Result]) -> tuple[str, ...]:
    """Says where rows are that are there twice; rows are counted from 1, without those that have faults."""

    def place(where: tuple[int, int]) -> str:
        return f"{os.path.basename(results[where[0]]['file'])} row {where[1] + 1}"

    return tuple(f"{place(second)} is {place(first)}" for first, second in pairs)


def _commit(results: Sequence[Result], names: Sequence[str], examples_dir: str, settings: Settings) -> None:
    """Gives every shard its name."""
    for name in names:
        shards = [result["shards"][name] for result in results if name in result["shards"]]
        folder = os.path.join(examples_dir, f"Split-{name}")
        fileio.makedirs(folder)
        for index, shard in enumerate(shards):
            fileio.rename(shard, os.path.join(folder, f"data_tfrecord-{index:05d}-of-{len(shards):05d}.gz"))
    quarantines = [result["quarantine"] for result in results if result["quarantine"]]
    if quarantines:
        with FileSystems.create(os.path.join(examples_dir, QUARANTINE_FILE)) as stream:
            for file in quarantines:
                with open_file(file) as lines:
                    shutil.copyfileobj(lines, stream)


def _read(file: str) -> bytes:
    with open_file(file) as stream:
        return stream.read()
