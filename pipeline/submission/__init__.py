"""Hands a compiled pipeline to Vertex AI or Kubeflow Pipelines and watches it run there."""
