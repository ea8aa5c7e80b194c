"""InfraValidator: runs the candidate in TensorFlow's C++ loader, as TF Serving would, before it may be pushed."""

BLESSED_FILE = "INFRA_BLESSED"  # in the output `blessing`, TFX's names
NOT_BLESSED_FILE = "INFRA_NOT_BLESSED"
