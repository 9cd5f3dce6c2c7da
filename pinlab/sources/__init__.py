"""What people have of a machine, made into one snapshot, told apart by what is in it.

    kinds       what a file is, by its first bytes
    page_owner  text of /sys/kernel/debug/page_owner: who asked for each page, and when
    stacks      the table that says which function in a stack is whose
    page_types  what `page-types -l`, `-L` and `-r` print
    coarse      buddyinfo and pagetypeinfo alone: counts, and no frame
    dump        a crash dump, or the running kernel, through drgn
    blank       columns of which a source says nothing
    source      any of them, and a folder of them, into one snapshot
    inspect     what a source says, what it does not, and how far it can be trusted
    redact      the same memory without a word of whose it was
    fleet       many of them in one table
    words       what the names in `Snapshot.unknown_fields` and `guessed_fields` mean, in words
    counts      what is met while a source is read, counted under a fixed set of names
    overlay     records of page_owner laid over frames: class, migratetype, order, and who asked
                when

Files are somebody else's: each is bounded before it is read, read once from front to end, and a
line that means nothing is counted.

Kernel counterpart: none.
May be imported by: snapshot, procfs, replay, diagnose, whatif, report, cli.
"""
