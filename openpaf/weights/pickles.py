"""Pickles read as data: a machine for their instructions that has none to import or call.

What an instruction would import or call is noted down, as :class:`Name` and :class:`Call`; who
reads the result takes from it what he knows. So nothing of a file is ever executed.

Reference:
    The instructions are described in Python's own module ``pickletools``.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from openpaf.errors import printable
from openpaf.weights.limits import MAX_PICKLE_STEPS


class CodeError(ValueError):
    """To load a pickle would run code; the message is the name of what would run."""


@dataclass(frozen=True, eq=False)
class Name:
    """Something that the pickle would import, e.g. ``torch.FloatStorage``."""

    text: str


@dataclass(frozen=True, eq=False)
class Call:
    """Something that the pickle would make by a call."""

    name: str
    args: Any


# What PyTorch itself allows in a file of weights, and what makes tensors.
_ALLOWED_PREFIXES = ("torch._utils._rebuild_", "torch._tensor._rebuild_")
_ALLOWED = {
    "collections.OrderedDict", "collections.Counter", "collections.defaultdict",
    "_codecs.encode", "builtins.bytearray", "builtins.set", "builtins.frozenset", "builtins.dict",
    "__builtin__.bytearray", "__builtin__.set", "__builtin__.frozenset", "__builtin__.dict",
    "torch.Size", "torch.device", "torch.Tensor", "torch.nn.parameter.Parameter",
    "torch.storage.UntypedStorage", "torch.storage.TypedStorage",
    "torch.serialization._get_layout",
}  # fmt: skip
_DTYPE_WORDS = ("float", "bfloat", "double", "half", "int", "uint", "long", "short", "bool",
                "complex", "quint", "qint", "per_")  # fmt: skip
_DICTIONARIES = ("collections.OrderedDict", "builtins.dict", "__builtin__.dict")
_CONSTANTS = {
    "NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": (),
}  # fmt: skip
_VALUES = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8"
).split()

_OTHER_CALLS = ("INST", "OBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4")


def read_pickle(file: IO[bytes], persistent: Callable[[Any], Any]) -> Any:
    """The value that a pickle describes; the file is left behind its end.

    Args:
        file: Opened at the pickle's beginning.
        persistent: Makes a value of a "persistent id", as which PyTorch's pickles name the numbers
            of a tensor.

    Returns:
        ``None``, numbers, texts, bytes, lists, tuples, dictionaries, :class:`Name`, :class:`Call`,
        and what ``persistent`` gave. Objects may contain themselves.

    Raises:
        CodeError: If it would import something that is not known to be harmless.
        ValueError: If it is damaged or too long; so do TypeError, IndexError, KeyError and others
            that damaged instructions lead to.
    """
    machine = _Machine(persistent)
    for n_steps, (instruction, argument, _) in enumerate(pickletools.genops(file)):
        if n_steps > MAX_PICKLE_STEPS:
            raise ValueError(f"expected a pickle of at most {MAX_PICKLE_STEPS} instructions")
        if instruction.name == "STOP":
            return machine.stack[-1]
        machine.step(instruction.name, argument)
    raise AssertionError  # genops raises where STOP is missing


class _Machine:
    """A stack, marks in it, and a memory, as pickle's own machine has them."""

    def __init__(self, persistent: Callable[[Any], Any]) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memory: dict[int, Any] = {}
        self.persistent = persistent

    def step(self, name: str, argument: Any) -> None:
        """Follow one instruction.

        Raises:
            ValueError: If it is not one that files of weights have.
        """
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memory[int(argument)] = stack[-1]
        elif name == "MEMOIZE":
            self.memory[len(self.memory)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memory[int(argument)])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name == "BINPERSID":
            stack.append(self.persistent(stack.pop()))
        elif name == "GLOBAL":
            stack.append(_allowed(argument.replace(" ", ".")))
        elif name == "STACK_GLOBAL":
            last, first = stack.pop(), stack.pop()
            stack.append(_allowed(f"{first}.{last}"))
        elif name in _OTHER_CALLS:
            raise CodeError(printable(argument or name))
        elif name not in ("PROTO", "FRAME") and not self._collect(name):
            raise ValueError(f"an instruction that weights have no use for ({name})")

    def _collect(self, name: str) -> bool:
        """Follow an instruction that makes or fills a collection; whether it is one."""
        stack = self.stack
        if name in ("EMPTY_LIST", "EMPTY_SET"):
            stack.append([])  # a set is read as the list of its members
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name in ("TUPLE", "LIST", "DICT", "FROZENSET"):
            items = self._since_mark()
            stack.append(_pairs(items) if name == "DICT" else items)
            if name == "TUPLE":
                stack[-1] = tuple(items)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n = int(name[-1])
            if len(stack) < n:
                raise ValueError("fewer values than an instruction takes")
            stack[-n:] = [tuple(stack[-n:])]
        elif name == "APPEND":
            item = stack.pop()
            _extend(stack[-1], [item])
        elif name in ("APPENDS", "ADDITEMS"):
            items = self._since_mark()
            _extend(stack[-1], items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            _update(stack[-1], [key, value])
        elif name == "SETITEMS":
            items = self._since_mark()
            _update(stack[-1], items)
        elif name in ("REDUCE", "NEWOBJ"):
            args, function = stack.pop(), stack.pop()
            stack.append(_call(function, args))
        elif name == "BUILD":
            stack.pop()  # attributes, of which weights have none that matter
            _ = stack[-1]
        else:
            return False
        return True

    def _since_mark(self) -> list[Any]:
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items


def _allowed(name: str) -> Name:
    module, _, last = name.rpartition(".")
    of_torch = module == "torch" and (last.endswith("Storage") or last.startswith(_DTYPE_WORDS))
    if name in _ALLOWED or name.startswith(_ALLOWED_PREFIXES) or of_torch:
        return Name(name)
    raise CodeError(printable(name))


def _call(function: Any, args: Any) -> Any:
    if not isinstance(function, Name):
        raise CodeError(printable(type(function).__name__))
    if function.text in _DICTIONARIES:
        # Protocol 2 and later fill it afterwards; before them, it was made of a list of pairs.
        pairs = args[0] if args else []
        return _pairs([item for pair in pairs for item in pair])
    return Call(function.text, args)


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)
    elif not isinstance(target, Call):
        raise ValueError(f"a {type(target).__name__} where a list is expected")


def _update(target: Any, items: list[Any]) -> None:
    if isinstance(target, dict):
        target.update(_pairs(items))
    elif not isinstance(target, Call):
        raise ValueError(f"a {type(target).__name__} where a dictionary is expected")


def _pairs(items: list[Any]) -> dict[Any, Any]:
    """A dictionary; keys that hold others, which could be too deep to be hashed, are refused."""
    for key in items[::2]:
        if not isinstance(key, (str, bytes, int, float, type(None), Name)):
            raise ValueError(f"a key of a dictionary that is a {type(key).__name__}")
    return dict(zip(items[::2], items[1::2], strict=True))
