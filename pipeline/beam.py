"""Beam arguments per runner. Runs at compile time."""

# FnApiRunner by name: Beam 2.77's default DirectRunner first tries to download a Prism binary. The container image is
# never used locally; without one TFX builds a source distribution of itself for each Beam component
# (tfx/utils/dependency_utils.py).
LOCAL_BEAM_ARGS = ("--runner=FnApiRunner", "--sdk_container_image=unused")
