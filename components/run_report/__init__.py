"""RunReport: tells a run as a trace, on one page that needs neither a server nor a script."""

FACTS_FILE = "facts.json"  # in the output `report`, and in a run's folder under `reports`
PAGE_FILE = "index.html"  # beside it
