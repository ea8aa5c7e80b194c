"""Serving: a development server that speaks TF Serving's API, and clients."""
