"""The memory of a real machine, frozen in columns.

    errors    what is wrong with a file, in one line
    classes   whom a frame belongs to
    facts     the few facts beside the columns: zones, provenance, what was measured
    form      the file: npz, JSON header, checksums
    image     the Snapshot: columns that agree with each other; load, save, validate
    holdings  whose frames lie in each block of memory, counted
    bundled   the recording that travels with the package
    open      any of them, by path or by name

A snapshot is data and provenance.  It never builds a machine: `pinlab.replay.replay` does.
"""
