"""KeyboardInterrupt at every line of some files, one run for each."""

import sys

__all__ = ["interrupted_at"]


def interrupted_at(call, line, files):
    """Run `call`; before the `line`-th line (from 0) of `files` an interrupt comes.

    Args:
        call: what to run, in this thread.
        line: which line, counted as they are run, whichever function they are in.
        files: part of the path of the files whose lines count, or several such.

    Returns:
        (whether it was interrupted, what the call returned).
    """
    left, parts = line, (files,) if isinstance(files, str) else files

    def local(_frame, event, _arg):
        nonlocal left
        if event == "line":
            left -= 1
            if left == -1:
                raise KeyboardInterrupt
        return local

    def trace(frame, _event, _arg):
        return local if any(part in frame.f_code.co_filename for part in parts) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        return False, call()
    except KeyboardInterrupt:
        return True, None
    finally:
        sys.settrace(before)
