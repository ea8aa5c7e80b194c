"""`sluice predict`: a table in, the same rows with their predictions out."""
