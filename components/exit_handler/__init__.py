"""ExitHandler: tells how a compiled run ended, however it did."""
