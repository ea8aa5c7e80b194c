"""A development server that speaks TF Serving's API, and the command lines of the real one. Runs in `sluice serve`."""
