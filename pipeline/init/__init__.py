"""`sluice init`: looks at a table and writes a pipeline's schema and config. Imports neither TensorFlow nor TFX."""
