"""Decides whether WarmStart has seen its input before. Runs in the launcher, before the executor."""

from tfx.dsl.components.base import base_driver
from tfx.orchestration import metadata
from tfx.orchestration.portable import base_driver as ir_base_driver
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import driver_output_pb2

from components.baseline.driver import SERVED_DIGEST
from components.warm_start.served import find_base, training_digest


class BaseModelDriver(base_driver.BaseDriver, ir_base_driver.BaseDriver):
    """Puts the digest of what training starts from among the execution properties, and so into the cache key."""

    def __init__(self, mlmd_connection: metadata.Metadata) -> None:
        """Creates the driver; it needs nothing of the metadata store."""
        base_driver.BaseDriver.__init__(self, mlmd_connection)
        ir_base_driver.BaseDriver.__init__(self, mlmd_connection)

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """Looks up what is served.

        Raises:
            ManifestError: If the manifest of the version that is served is damaged.
        """
        training = training_digest(execution_info.input_dict, execution_info.exec_properties)
        base = find_base(execution_info.exec_properties["serving_model_dir"], training)
        output = driver_output_pb2.DriverOutput()
        output.exec_properties[SERVED_DIGEST].string_value = base.digest or base.reason
        return output
