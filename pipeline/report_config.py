"""The config of what a model's users are told. Runs at compile time; imports neither TensorFlow nor TFX."""

from typing import Annotated

from pydantic import Field

from pipeline.config_file import Section

Sentence = Annotated[str, Field(min_length=1, pattern=r"\S")]


class ModelCardConfig(Section):
    """What the model card says that no artifact knows (Mitchell et al. 2019, Model Cards for Model Reporting)."""

    description: str = Field("", description="What the model predicts, and of what.")
    intended_use: tuple[Sentence, ...] = Field((), description="What it is meant for, a sentence each.")
    limitations: tuple[Sentence, ...] = Field((), description="What it is not good for, a sentence each.")
    owners: tuple[Sentence, ...] = Field((), description="Who answers for it.")
    license: str = Field("", description="Under which it may be used.")
