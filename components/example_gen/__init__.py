"""ExampleGen: reads the data and splits it into train and eval examples."""
