"""The design kit: what every design promises, tried on anybody's.

    promises    The promises, numbered, and what breaking one means
    lab         A small real machine with every kind of holder on it
    check       Runs a design on machine after machine, and says which promise it broke

May be imported by: cli.
"""
