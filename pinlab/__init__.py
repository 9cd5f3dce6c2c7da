"""The laboratory: recordings, replays, designs side by side, and the command line.

    snapshot    the memory of a real machine, frozen in columns
    replay      a recording becomes a machine
    compare     one request under one design after another
    requests    one module per consumer of memory
    load        many actors on one machine
    report      tables, maps and pictures, made of results
    whatif      what would be gained if somebody could move, from a recording alone
    diagnose    why a request could not be served, from a recording alone
    cli         the command `pinpage`

Each can be used without those below it in this list.
"""
