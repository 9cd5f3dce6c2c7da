"""Where the command begins: a stdout that is closed is an error, before anything has changed.

An interrupt before the rest has been read in, or has begun to listen, ends like any other.
Reading the rest in takes a few tenths of a second, and nobody would answer an interrupt there.
"""

import sys

__all__ = ["main"]

_INTERRUPTED = 130  # as in pinlab.cli.errors, which is what is not read in yet
_CLOSED = "pinpage: standard output: is closed; give it a place, such as >/dev/null"


def main() -> None:
    """Run the command `pinpage`; the process ends with its exit code."""
    if sys.stdout is None:  # closed before we came: nothing that is printed would be seen
        if sys.stderr is not None:
            print(_CLOSED, file=sys.stderr)
        sys.exit(1)
    try:
        from pinlab.cli.main import main as run

        run()
    except KeyboardInterrupt:
        print("pinpage: interrupted", file=sys.stderr)
        sys.exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
