"""StatisticsGen: statistics of every split, for the data gate, the drift reference and the report."""
