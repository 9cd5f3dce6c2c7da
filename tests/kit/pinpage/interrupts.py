"""A KeyboardInterrupt at the n-th point of some files at which Python may run a signal handler.

The points are where a function is entered and where a call has returned; real signals also
strike at backward jumps.  They are found by a profile function, which counts them; when the
count is due it raises.  That ends the profile, so a trace function, called at the very next
line or exception, begins it again: the next interrupt may strike in the undo of the first.
"""

import dis
import gc
import inspect
import sys
from functools import cache

__all__ = ["Interrupts"]


class Interrupts:
    """While this is open, points are counted and those that are due strike.

    Attributes:
        nr_points: points passed so far.
        nr_struck: interrupts raised so far.
    """

    def __init__(self, *due, files):
        self.due = sorted(due)
        self.files = files
        self.nr_points = self.nr_struck = 0

    def __enter__(self):
        gc.disable()  # what a finalizer is interrupted in is swallowed
        self._before = sys.gettrace()  # who measures coverage goes on afterwards
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *exc):
        sys.setprofile(None)
        sys.settrace(self._before)
        gc.enable()

    def _is_ours(self, frame):
        return frame is not None and frame.f_code.co_filename in self.files

    def _is_point(self, frame, event):
        if event == "c_return":
            return self._is_ours(frame)
        caller = frame.f_back
        if event == "call":  # a generator that is thrown into raises at once
            is_entered = frame.f_lasti in _places_of(frame.f_code, "RESUME")
            return is_entered and (self._is_ours(frame) or self._is_ours(caller))
        if event != "return" or not self._is_ours(caller):
            return False
        # Of a function that C calls the answer is in C's hands: no handler runs in between.
        is_plain = not frame.f_code.co_flags & inspect.CO_GENERATOR
        return is_plain and caller.f_lasti in _places_of(caller.f_code, "CALL")

    def _profile(self, frame, event, arg):
        if not self._is_point(frame, event):
            return
        self.nr_points += 1
        if self.nr_struck < len(self.due) and self.nr_points >= self.due[self.nr_struck]:
            self.nr_struck += 1
            if self.nr_struck < len(self.due):
                self._trace_from(frame)
            raise KeyboardInterrupt(f"point {self.nr_points}")

    def _trace_from(self, frame):
        while frame is not None:
            frame.f_trace = self._resume
            frame = frame.f_back
        sys.settrace(self._resume)

    def _resume(self, frame, event, arg):
        sys.settrace(self._before)
        sys.setprofile(self._profile)


@cache
def _places_of(code, opname):
    """Offsets of these instructions, and of the caches that follow them."""
    places, is_inside = set(), False
    for instruction in dis.get_instructions(code, show_caches=True):
        if instruction.opname != "CACHE":
            is_inside = instruction.opname.startswith(opname)
        if is_inside:
            places.add(instruction.offset)
    return places
