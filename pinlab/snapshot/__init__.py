"""The memory of a real machine, frozen in columns.

    errors       what is wrong with a file, in one line
    classes      whom a frame belongs to
    facts        the few facts beside the columns: zones, provenance, what was measured
    form         the file: npz, JSON header, checksums
    image        the Snapshot: columns that agree with each other; load, save, validate
    holdings     whose frames lie in each block of memory, counted
    bundled      the recording that travels with the package
    open         any of them, by path or by name
    limits       what the facts beside the columns may say at most: zones, RAM, pageblocks, counts
    columns      what columns a snapshot has, and what must hold between them
    label_rules  what labels a snapshot may carry: names of owners, each with frames of its own
    allocations  what page_owner kept of each allocation: when, by whom, through which functions
    labels       frames of a recording that are somebody's by name: a driver that knows which pages
                 it has

A snapshot is data and provenance.  It never builds a machine: `pinlab.replay.replay` does.
"""
