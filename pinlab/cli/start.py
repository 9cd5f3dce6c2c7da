"""Where the command begins: an interrupt before it has been read in ends like any other.

Reading the rest in takes a few tenths of a second, and nobody would answer an interrupt there.
"""

import sys

__all__ = ["main"]

_INTERRUPTED = 130  # as in pinlab.cli.errors, which is what is not read in yet


def main() -> None:
    """Run the command `pinpage`; the process ends with its exit code."""
    try:
        from pinlab.cli.main import main as run
    except KeyboardInterrupt:
        print("pinpage: interrupted", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    run()


if __name__ == "__main__":
    main()
