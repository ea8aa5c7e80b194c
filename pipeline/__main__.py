"""`python -m pipeline` is `sluice`."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
