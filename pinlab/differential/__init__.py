"""Two designs on the same memory: what must be equal, and what must not be worse.

    recipe    How to build the same small memory again, and a recipe for every seed
    world     That memory: a process, zswap on zbud, drivers, pins, kernel pages
    requests  Whoever asks for memory, at the size of such a world
    laws      The laws, numbered, and what breaking one means
    compare   Runs both designs on world after world, and says which law was broken
    watched   A design that is looked at whenever it says that it has moved or given up a frame

May be imported by: whoever has two designs.
"""
