"""`python -m services.cli` is `perennial`."""

from services.cli.app import main

if __name__ == "__main__":
    main()
