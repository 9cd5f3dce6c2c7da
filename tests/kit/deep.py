"""Everything that can be reached from some objects: each object once, and a digest of them all.

The digest is of the values that a later call could see: columns, containers in their order
(sets without one), attributes, the cells of closures.  Locks, modules and classes are left out;
they hold nothing that a caller put there.  Two digests of one process are compared; the digest
of one process means nothing in another.
"""

import array
import collections
import enum
import hashlib
import itertools
import random
import types

import numpy as np

__all__ = ["deep_digest", "reachable"]

_PLAIN = (int, float, complex, str, bytes, bool, type(None), range, slice)
_COST_OF_LOOKING = {"nr_probes"}  # counted because somebody looks, and nothing else is said by it
_LEFT_OUT = (type, types.ModuleType, types.BuiltinFunctionType, types.GeneratorType, property)


def _slots(thing):
    names = [
        name
        for kind in type(thing).__mro__
        for slots in [kind.__dict__.get("__slots__", ())]
        for name in ((slots,) if isinstance(slots, str) else slots)
    ]
    return [(n, getattr(thing, n)) for n in names if n != "__weakref__" and hasattr(thing, n)]


def _parts(thing):
    """What an object consists of: a label, its own value, and further objects."""
    if isinstance(thing, np.ndarray) and thing.dtype != object:
        return f"{thing.dtype}{thing.shape}", thing.tobytes(), []
    if isinstance(thing, np.ndarray):
        return f"objects{thing.shape}", b"", thing.ravel().tolist()
    if isinstance(thing, (bytearray, memoryview)):
        return "bytes", bytes(thing), []
    if isinstance(thing, (list, tuple, collections.deque)):
        return type(thing).__name__, b"", list(thing)
    if isinstance(thing, (types.FunctionType, types.MethodType)):
        return "call", thing.__qualname__.encode(), _behind(thing)
    if isinstance(thing, random.Random):
        return "random", repr(thing.getstate()).encode(), []
    if isinstance(thing, np.random.Generator):
        return "random", repr(thing.bit_generator.state).encode(), []
    if isinstance(thing, (itertools.count, np.dtype, array.array)):
        return "counter", repr(thing).encode(), []
    own = [*_slots(thing), *getattr(thing, "__dict__", {}).items()]
    own = [(name, value) for name, value in own if name not in _COST_OF_LOOKING]
    items = [part for name, value in own for part in (name, value)]
    if isinstance(thing, dict):
        items += [part for pair in dict.items(thing) for part in pair]
    return type(thing).__qualname__, b"", items


def _behind(call):
    """Whom a bound method is bound to, and what a closure has closed over."""
    if isinstance(call, types.MethodType):
        return [call.__self__]
    cells = [cell.cell_contents for cell in call.__closure__ or () if _is_filled(cell)]
    return [*cells, *(call.__defaults__ or ()), *(call.__kwdefaults__ or {}).values()]


def _is_filled(cell):
    try:
        cell.cell_contents  # noqa: B018 - raises where there is nothing
    except ValueError:
        return False
    return True


def _plain(thing):
    if isinstance(thing, enum.Enum):
        return f"{type(thing).__name__}.{thing.name}"
    if isinstance(thing, np.generic):
        return repr(thing.item())
    return repr(thing) if isinstance(thing, _PLAIN) else None


def _visit(roots, on_plain, on_object, without=()):
    """Every object once, in an order that depends on values alone."""
    seen, keep, pending = {}, [], list(reversed(roots))
    while pending:
        thing = pending.pop()
        if isinstance(thing, _LEFT_OUT) or type(thing).__module__ in ("_thread", "threading"):
            continue
        if type(thing).__name__ in without:
            continue
        plain = _plain(thing)
        if plain is not None:
            on_plain(plain)
        elif id(thing) in seen:
            on_plain(f"#{seen[id(thing)]}")
        else:
            seen[id(thing)] = len(seen)
            if isinstance(thing, (set, frozenset)):
                thing = sorted(thing, key=repr)
                seen[id(thing)] = len(seen)
                keep.append(thing)
            label, value, parts = _parts(thing)
            on_object(thing, f"{label}:{len(parts)}", value)
            pending.extend(reversed(parts))


def deep_digest(*roots, without=()):
    """A digest of everything that can be reached from these objects.

    Args:
        roots: where to begin.
        without: names of classes that are passed over.
    """
    found = hashlib.blake2b(digest_size=16)

    def note(_thing, label, value):
        found.update(f"\n{label} ".encode())
        found.update(value)

    _visit(roots, lambda plain: found.update(f"\n{plain}".encode()), note, without)
    return found.hexdigest()


def reachable(*roots):
    """Every object that can be reached from these."""
    found = []
    _visit(roots, lambda plain: None, lambda thing, label, value: found.append(thing))
    return found
