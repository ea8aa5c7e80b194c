#!/bin/sh
# A Beam runner starts a worker with flags alone (--id=..., --worker_pool): those are for Beam's boot. Anything else is a
# command. Kubeflow Pipelines and Vertex AI replace this entrypoint by a task's own command.
case "$1" in
  -*) exec /opt/apache/beam/boot "$@" ;;
  *) exec "$@" ;;
esac
