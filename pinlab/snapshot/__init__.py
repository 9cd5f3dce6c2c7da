"""The memory of a real machine, frozen in columns.

    errors    what is wrong with a file, in one line
    classes   whom a frame belongs to
    facts     the few facts beside the columns: zones, provenance, what was measured
    form      the file: npz, JSON header, checksums
    image     the Snapshot: columns that agree with each other; load, save, validate
    holdings  whose frames lie in each block of memory, counted
    infer     what the kernel does not export, worked out and marked as guessed
    text      /proc's text files
    proc      capture of a live machine
    linux61   recordings of Linux 6.1 guests, made inside the kernel
    shape     where pages of a described machine lie, and how full its pools are
    bundled   the recording that travels with the package
    open      any of them, by path or by name

A snapshot is data and provenance.  It never builds a machine: `pinlab.replay.replay` does.
"""
