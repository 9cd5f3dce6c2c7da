"""`python -m pinpage`: the command, where its script is not on PATH.

The one line that leads from here up to the laboratory; nothing imports this module.
"""

import runpy

__all__ = []

if __name__ == "__main__":
    runpy.run_module("pinlab.cli.start", run_name="__main__")
