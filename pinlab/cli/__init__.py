"""The command `pinpage`: parse, call, print.  No logic lives here.

    check    `pinpage check`: find somebody's owner by its name, and run the kit against it
    errors   What the subcommands share: how a mistake, a failure and an interruption end
    main     The command `pinpage`: parse, call, print.  No logic lives here
    options  Options of `pinpage request`, `fidelity` and `report reasons`: types, names, help
    output   What the command prints besides tables: JSON, maps, progress, one-line descriptions
    request  `pinpage request`, `pinpage fidelity`, `pinpage report reasons`: parse, call, print

May be imported by: nobody.
"""
