"""The command `pinpage`: parse, call, print.  No logic lives here.

    ask           `pinpage what-if` and `pinpage diagnose`: answers from a recording alone; no
                  machine is made
    check         `pinpage check`: find somebody's owner by its name, and run the kit against it
    check_design  `pinpage check --design`: find somebody's design by its name, and run the design
                  kit on it
    errors        What the subcommands share: how a mistake, a failure and an interruption end
    fleet         `pinpage fleet`: many machines in one table
    history       `pinpage designs` and `pinpage defects`: parse, call, print
    look          `pinpage report VIEW`: what is in a recording, counted; no machine is made
    main          The command `pinpage`: parse, call, print.  No logic lives here
    options       Options of `pinpage request`, `fidelity` and `report reasons`: types, names, help
    output        What the command prints besides tables: JSON, maps, progress, one-line
                  descriptions
    races         `pinpage races`: explore the races of the catalogue, and tell how each of their
                  bugs bites
    request       `pinpage request`, `pinpage fidelity`, `pinpage report reasons`: parse, call,
                  print
    sources       `pinpage describe`, `convert`, `validate`, `redact`: what people have, in its one
                  form
    start         Where the command begins: an interrupt before it has been read in ends like any
                  other

May be imported by: nobody.
"""
