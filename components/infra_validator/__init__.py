"""InfraValidator: runs the candidate in TensorFlow's C++ loader, as TF Serving would, before it may be pushed."""
