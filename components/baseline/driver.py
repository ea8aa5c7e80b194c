"""Decides whether Baseline has seen its input before. Runs in the launcher, before the executor."""

import json

from tfx.dsl.components.base import base_driver
from tfx.orchestration import metadata
from tfx.orchestration.portable import base_driver as ir_base_driver
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import artifact_utils, standard_component_specs

from components.baseline.served import difference, find_baseline, still_holds, version_dir
from components.model_manifest import DIGEST_PROPERTY, read_manifest

SERVED_DIGEST = "served_digest"  # of the model, or why it cannot be compared with


class ServedModelDriver(base_driver.BaseDriver, ir_base_driver.BaseDriver):
    """Puts the served model's digest among the execution properties, and so into the cache key."""

    def __init__(self, mlmd_connection: metadata.Metadata) -> None:
        """Creates the driver; it needs nothing of the metadata store."""
        base_driver.BaseDriver.__init__(self, mlmd_connection)
        ir_base_driver.BaseDriver.__init__(self, mlmd_connection)

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """Looks up what is served.

        Raises:
            ManifestError: If the manifest of the version that is served is damaged.
        """
        model = artifact_utils.get_single_instance(execution_info.input_dict[standard_component_specs.MODEL_KEY])
        custom_config = json.loads(execution_info.exec_properties["custom_config"])
        key = ""
        if custom_config["compare"]:
            base_dir = execution_info.exec_properties["serving_model_dir"]
            baseline = find_baseline(base_dir, model.get_string_custom_property(DIGEST_PROPERTY))
            key = baseline.digest or baseline.reason
            if still_holds(base_dir, baseline):
                key += difference(read_manifest(version_dir(base_dir, baseline.version)), custom_config["roles"])
        output = driver_output_pb2.DriverOutput()
        output.exec_properties[SERVED_DIGEST].string_value = key
        return output
