"""The sections of the config of components that take few settings. Imports neither TensorFlow nor TFX; compile time."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline.config_file import Count, Executor, InputDir, InputFile, Number, Section, SpanPattern, defines

_COMPONENTS = Path(__file__).resolve().parents[1] / "components"


class StatisticsGenConfig(Section):
    """How statistics are computed."""

    executor: Executor = Field("columnar", description="Computes in memory; or `stock`, on Beam, record by record.")


class TransformConfig(Section):
    """How raw features become what the model is trained on."""

    executor: Executor = Field("columnar", description="Reads many rows at a time; or `stock`, record by record.")
    module_file: Annotated[InputFile, defines("preprocessing_fn")] = Field(
        str(_COMPONENTS / "transform" / "preprocessing.py"),
        description="Python file with `preprocessing_fn`.",
    )
    clip: bool = Field(
        False, description="Set numbers beyond the training split's range to its ends, when training and when serving."
    )
    missing_indicator: bool = Field(
        False, description="Tell the model, by an input of its own, where a number that may be missing was."
    )
    min_frequency: Count = Field(
        1,
        ge=1,
        le=10**9,
        description="Rows of a category below which it counts as unknown, where the schema lists no categories.",
    )
    materialize: bool | Literal["auto"] = Field(
        "auto",
        description="Write every split transformed; `auto` does for a Trainer's module file of your own. Sluice's own "
        "transforms the rows as it reads them.",
    )


class InfraValidatorConfig(Section):
    """How a candidate is tried as a server would run it."""

    executor: Literal["loader", "docker"] = Field(
        "loader", description="TensorFlow's C++ loader; or `docker`, the stock InfraValidator, which needs Docker."
    )
    tolerance: Number = Field(
        1e-5, ge=0, description="Largest difference to the Trainer's logits that passes; relative beyond 1."
    )
    timeout_secs: Number = Field(120.0, gt=0, description="After which the candidate is killed and refused.")
    image_tag: str = Field("latest", min_length=1, description="Tag of `tensorflow/serving`, for `docker`.")


class PusherConfig(Section):
    """How a model appears where it is served."""

    executor: Literal["atomic", "stock"] = Field(
        "atomic", description="One rename of a model checked file by file; or TFX's Pusher, a copy."
    )
    keep_versions: Count | None = Field(
        10, ge=1, description="Newest versions that stay; null keeps all. Served and labelled ones always stay."
    )


class BulkInferrerConfig(Section):
    """Rows without labels that a blessed model predicts at the end of a run."""

    pattern: SpanPattern = Field("*.csv", description="Of the files under `input_dir`.")
    input_dir: InputDir | None = Field(None, description="Folder of their files; null leaves them out.")
    id_columns: tuple[str, ...] | None = Field(
        None, description="Columns that the table of predictions repeats; null repeats the schema's ids."
    )
    file_format: Literal["csv", "parquet"] = Field("csv", description="Of the table of predictions.")
