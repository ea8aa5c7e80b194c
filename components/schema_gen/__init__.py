"""SchemaGen: gives the curated schema to the nodes that follow."""
