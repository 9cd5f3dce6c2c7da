"""Files from somebody else: bounded before they are read, plain when they are printed.

    careful    texts and JSON: no larger than their reader can use
    npz        arrays: nothing is inflated before its size is known and justified
    available  how much memory this machine has left

Kernel counterpart: none.
May be imported by: everything in `pinlab`; it imports `pinlab.snapshot.errors` alone.
"""
