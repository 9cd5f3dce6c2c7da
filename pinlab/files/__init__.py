"""Files from somebody else: bounded before they are read, plain when they are printed.

    available  How much memory this machine has left, as far as it says
    careful    Files, JSON and texts from somebody else: bounded when they are read, plain when
               printed
    npz        An .npz of which nothing is inflated before its size is known and justified

Kernel counterpart: none.
May be imported by: everything in `pinlab`; it imports `pinlab.snapshot.errors` alone.
"""
