"""Where CPython lets another thread in, as a trace function that is told of each such place.

Such a place is behind an instruction that looks for signals and for threads that want to run: a
call, the entry of a function, a jump back.
"""

import dis

__all__ = ["at_places"]

LETS_OTHERS_IN = ("CALL", "RESUME", "JUMP_BACKWARD")
"""Parts of the names of instructions that end by a look at the eval breaker."""


def at_places(is_looked_at, tell, *, every=False):
    """A function for `sys.settrace`: calls `tell(frame)` at each place in some files.

    Args:
        is_looked_at: says of the path of a file whether there are places in it.
        tell: called in the thread, wherever another one could come in.
        every: at each such place, not only at the first of each line.
    """

    def enter(frame, event, argument):
        if not is_looked_at(frame.f_code.co_filename):
            return None
        frame.f_trace_opcodes = True
        last_instruction, last_line = -1, 0

        def step(frame, event, argument):
            nonlocal last_instruction, last_line
            if event == "opcode":
                last, last_instruction = last_instruction, frame.f_lasti
                lets_in = last < 0 or any(
                    part in dis.opname[frame.f_code.co_code[last]] for part in LETS_OTHERS_IN
                )
                if lets_in and (every or last_line != frame.f_lineno):
                    last_line = frame.f_lineno
                    tell(frame)
            return step

        return step

    return enter
