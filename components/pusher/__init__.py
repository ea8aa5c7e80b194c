"""Pusher: exports a model that has earned it to where TF Serving reads it, atomically."""
