"""``python -m openpaf``: the same as the command ``openpaf``."""

from openpaf.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
