"""The laboratory: recordings, replays, designs side by side, and the command line.

    snapshot    the memory of a real machine, frozen in columns
    replay      a recording becomes a machine
    report      tables, maps and pictures, made of results
    compare     one request under one design after another
    requests    one module per consumer of memory
    load        many actors on one machine
    whatif      what would be gained if somebody could move, from a recording alone
    diagnose    why a request could not be served, from a recording alone
    cli         the command `pinpage`

Each of these can be used without those below it in the list; of `report` alone the tables of a
comparison know what is in one (`pinlab.compare.results`).  Where snapshots come from:

    files      bounded before they are read, never lost by writing
    procfs     what a kernel says of its memory, read by each file's grammar
    sources    what people have of a machine, made into one snapshot
    described  memory that nobody recorded: a line or a file says how much of what

What shows that owners and designs keep their promises:

    lab           somebody's own owner, tried on a whole machine
    design_kit    what every design promises, tried on anybody's
    differential  two designs on the same memory: what must be equal, and what not worse
    races         the races of the catalogue, each explored with the bug it is there for
    defects       those of the patch of 2013, shown on it and looked for in the registry

`own` says whether the packages that Python found are ours.
"""
