"""Executes a compiled pipeline spec on this machine as a backend would; knows the format and nothing of what is in it.

Sources: kfp's pipeline_spec.proto; kubeflow/pipelines, backend/src/v2 (driver, component/launcher_v2.go,
compiler/argocompiler/dag.go).
"""
