"""`python -m schemas` writes the generated contract files; with `--check` it only compares them."""

from __future__ import annotations

import argparse
import sys

from schemas.generation import ROOT, stale_files, write_files


def main(arguments: list[str] | None = None) -> int:
    """Return 0 when everything is up to date (or now is), 1 when `--check` found a difference."""
    parser = argparse.ArgumentParser(prog="python -m schemas", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when a file is out of date"
    )
    if not parser.parse_args(arguments).check:
        for path in write_files():
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
        return 0
    stale = stale_files()
    for path in stale:
        sys.stderr.write(f"out of date: {path.relative_to(ROOT)}\n")
    if stale:
        sys.stderr.write("run `make schemas` (or `python -m schemas`) and commit the result\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
