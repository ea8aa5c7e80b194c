"""The reports of runs: one opened again, all in a list, two side by side."""
