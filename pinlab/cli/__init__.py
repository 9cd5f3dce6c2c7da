"""The command `pinpage`: parse, call, print.  No logic lives here.

    ask      `pinpage what-if` and `pinpage diagnose`: answers from a recording alone; no machine is
             made
    check    `pinpage check`: find somebody's owner by its name, and run the kit against it
    errors   What the subcommands share: how a mistake, a failure and an interruption end
    look     `pinpage report VIEW`: what is in a recording, counted; no machine is made
    main     The command `pinpage`: parse, call, print.  No logic lives here
    options  Options of `pinpage request`, `fidelity` and `report reasons`: types, names, help
    output   What the command prints besides tables: JSON, maps, progress, one-line descriptions
    request  `pinpage request`, `pinpage fidelity`, `pinpage report reasons`: parse, call, print

May be imported by: nobody.
"""
