"""A line of the library changed for as long as a `with` lasts: the bug that a race is there for.

What is changed is the code of a function that everybody has got hold of already, so it does
not matter who imported it by which name.  The text that is replaced has to be there exactly
once: a bug that cannot be planted is an error, not a race that was survived.

Context: the whole process; one at a time.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any

from attrs import field, frozen

from pinpage.errors import PinpageError

__all__ = ["Broken"]


def _no_names() -> Mapping[str, Any]:
    return {}


@frozen
class Broken:
    """One function of the library, and what is wrong with it.

    Attributes:
        what: the bug in plain words.
        function: where it is planted.
        old: text that occurs once in the function.
        new: what stands there instead.
        names: what the new text uses beside what the module has.
    """

    what: str
    function: Callable[..., Any] = field(eq=False, repr=False)
    old: str = field(repr=False)
    new: str = field(repr=False)
    names: Mapping[str, Any] = field(factory=_no_names, eq=False, repr=False)

    @property
    def where(self) -> str:
        """Module and function that are changed."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @contextmanager
    def planted(self) -> Iterator[None]:
        """While inside, the bug is there.

        Raises:
            PinpageError: the text is not there, or more than once; or it does not compile alone.
        """
        function = inspect.unwrap(self.function)
        if not isinstance(function, FunctionType):
            raise PinpageError(f"{self.where}: not a function of Python")
        whole = function.__code__
        code = self._code(function)
        before = {name: function.__globals__.get(name) for name in self.names}
        function.__globals__.update(self.names)
        function.__code__ = code
        try:
            yield
        finally:
            function.__code__ = whole
            for name, value in before.items():
                if value is None:
                    del function.__globals__[name]
                else:
                    function.__globals__[name] = value

    def _code(self, function: FunctionType) -> CodeType:
        """The function's code with the bug in it."""
        text = inspect.getsource(function)
        if text.count(self.old) != 1:
            raise PinpageError(
                f"{self.where}: its text holds {text.count(self.old)} times {self.old!r}"
            )
        module = compile(textwrap.dedent(text.replace(self.old, self.new)), self.where, "exec")
        for code in module.co_consts:
            if isinstance(code, CodeType) and code.co_name == function.__name__:
                return code
        raise PinpageError(f"{self.where}: its text does not define it")
