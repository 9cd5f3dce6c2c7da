"""Errors as values: the codes that mm functions answer with, negative as in the kernel.

A refusal is a value, never an exception.  Each code keeps one meaning throughout mm:

==========  ==============================================  ==========================
code        in mm it means                                  the caller should
==========  ==============================================  ==========================
EAGAIN      somebody uses it at this moment                 retry within its budget
EFAULT      no such address in the process                  stop: it is permanent
EBUSY       cannot now: unmovable, or isolated already      try another target
ENOMEM      no destination                                  abort the batch
EINTR       a signal                                        abort everything, undo
EINVAL      bad range, or a mode that is not supported      stop: it is permanent
ENOSYS      no migration support                            stop: it is permanent
ECANCELED   the swap area is going away                     give up; its owner frees
ENOENT      nothing movable is left                         stop: it is done
==========  ==============================================  ==========================
"""

import enum

__all__ = ["Errno"]


class Errno(enum.IntEnum):
    """Success and the negative error numbers of Linux (asm-generic/errno*.h)."""

    OK = 0
    ENOENT = -2
    EINTR = -4
    EAGAIN = -11
    ENOMEM = -12
    EFAULT = -14
    EBUSY = -16
    EEXIST = -17
    ENODEV = -19
    EINVAL = -22
    ENOSPC = -28
    ENOSYS = -38
    ECANCELED = -125
