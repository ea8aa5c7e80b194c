"""The section of the config that says where local runs keep their metadata. Imports neither TensorFlow nor TFX."""

import os
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.config_file import Count, Section, absolute_path

USER_VARIABLE, PASSWORD_VARIABLE = "SLUICE_METADATA_USER", "SLUICE_METADATA_PASSWORD"

_CREDENTIAL = re.compile(r"user|login|pass|pwd|secret|token|credential|dsn|ur[il]", re.IGNORECASE)


def _host_alone(host: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]*", host):  # the value may hold a password, and is not repeated
        raise ValueError(f"must be the name or address of a host alone. {_where_credentials_belong()}")
    return host


def _where_credentials_belong() -> str:
    return f"User and password come from the environment alone: {USER_VARIABLE} and {PASSWORD_VARIABLE}."


class MetadataConfig(Section):
    """Where local runs keep their metadata. Who logs in, only the environment says."""

    backend: Literal["sqlite", "mysql"] = Field(
        "sqlite", description="`sqlite`, a file under `--root`, or `mysql`, a database that a team shares."
    )
    host: Annotated[str, AfterValidator(_host_alone)] | None = Field(None, description="Of the MySQL server.")
    port: Count = Field(3306, ge=1, le=65535, description="Of the MySQL server.")
    socket: Annotated[str, BeforeValidator(absolute_path)] | None = Field(
        None, description="Unix socket of a MySQL server on this machine, instead of `host`."
    )
    database: str | None = Field(None, pattern=r"^[A-Za-z0-9_]{1,64}$", description="Its name; it must exist.")

    @model_validator(mode="before")
    @classmethod
    def _holds_no_credentials(cls, values: Any) -> Any:
        keys = map(str, values) if isinstance(values, dict) else []
        if not isinstance(values, dict | cls):  # such as a URL with a password, which is not repeated
            raise ValueError(f"must be a section of 'key: value' lines. {_where_credentials_belong()}")
        if found := [key for key in keys if _CREDENTIAL.search(key)]:
            raise ValueError(f"{', '.join(found)} may not stand in a config. {_where_credentials_belong()}")
        return values

    @model_validator(mode="after")
    def _names_a_database(self) -> Self:
        if self.backend == "mysql" and not (self.database and bool(self.host) != bool(self.socket)):
            raise ValueError("backend: mysql needs a database, and either a host or a socket.")
        return self

    def missing_credentials(self) -> str:
        """Returns a sentence about the variables of the environment that are not set; empty if none is needed."""
        missing = [name for name in (USER_VARIABLE, PASSWORD_VARIABLE) if not os.environ.get(name)]
        if self.backend == "sqlite" or not missing:
            return ""
        return f"metadata.backend: mysql needs {' and '.join(missing)} in the environment."
