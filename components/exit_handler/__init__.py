"""ExitHandler: tells people how a run ended, however it did. `notifier` does it for local runs too."""
