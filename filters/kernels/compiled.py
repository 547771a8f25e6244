"""How a kernel is compiled: once per machine and version of its code, whether that code lies in a folder or in a zip.

Numba's own cache looks at the file of a function alone and would go on using what was compiled against an older version of
a function from another file. Here the key is the function's code, that of every kernel it calls, and every constant it
reads, wherever in their modules these stand. The compiled code lies in `$NUMBA_CACHE_DIR` if that is set, else in the user's
cache folder, else (a worker without a home) in a private folder among the temporary files. Numba loads these files with
pickle, so nobody else may write there.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, ClassVar, Self, TypeVar

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserWideCacheLocator
from numba.core.dispatcher import Dispatcher
from numba.extending import intrinsic

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def _candidates() -> list[Path]:
    named = os.environ.get("NUMBA_CACHE_DIR")
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - must not raise without a home
    shared = Path(tempfile.gettempdir()) / f"goodhart-{os.getuid()}"
    return [*([Path(named)] if named else []), Path(user) / "goodhart", shared]


@cache
def cache_folder() -> Path:
    """The folder that compiled kernels are kept in: the first candidate that is, or can be made, ours alone to write."""
    for folder in _candidates():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.stat()
            if found.st_uid == os.getuid() and not found.st_mode & 0o022:
                tempfile.TemporaryFile(dir=folder).close()
                return folder
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="goodhart-"))


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _read_by(code: CodeType, names: dict[str, Any]) -> list[tuple[str, Any]]:
    read = [(name, names[name]) for name in code.co_names if name in names]
    modules = [value for _, value in read if isinstance(value, ModuleType) and value.__name__.startswith("filters")]
    return read + [(name, vars(module)[name]) for module in modules for name in code.co_names if name in vars(module)]


def _called(value: Any) -> FunctionType | None:
    """The Python function behind a kernel or an intrinsic."""
    found: FunctionType | None = getattr(value, "py_func" if isinstance(value, Dispatcher) else "_defn", None)
    return found


def digest(function: FunctionType) -> str:
    """SHA-256 of a function's code, of the kernels it calls and of the constants it reads; 64 hexadecimal digits.

    The module's name is part of it: compiled code imports its module when it is loaded, and fails after a move. What the
    module does not define yet is left out, so this is worked out when a kernel is first called, not when it is defined.
    """
    parts: list[str] = []
    reached = [function]  # grows while it is gone through: kernels may call themselves and each other
    for one in reached:
        for code in _codes(one.__code__):
            constants = [repr(constant) for constant in code.co_consts if not isinstance(constant, CodeType)]
            parts += [str(one.__module__), code.co_code.hex(), *constants, repr(code.co_names), repr(code.co_varnames)]
            for name, value in _read_by(code, one.__globals__):
                called = _called(value)
                if called is not None:
                    parts.append(f"{name}={called.__module__}.{called.__qualname__}")
                    reached += [called] if called not in reached else []
                elif isinstance(value, np.ndarray):
                    parts.append(f"{name}={value.dtype}{value.shape}{value.tobytes().hex()}")
                elif isinstance(value, bool | int | float | str | bytes | tuple | np.generic | np.dtype):
                    parts.append(f"{name}={value!r}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class KernelLocator(UserWideCacheLocator):  # type: ignore[misc]
    """Tells Numba where a kernel's compiled code is kept and which version of the code it belongs to."""

    def __init__(self, function: FunctionType, file: str) -> None:
        self._py_file = file  # named when Numba warns that a kernel cannot be kept
        self._digest = digest(function)
        self._cache_path = str(cache_folder())

    def get_source_stamp(self) -> str:
        """What must be equal for compiled code to be used again."""
        return self._digest

    def get_disambiguator(self) -> str:
        """Part of the file name, so that two versions of a kernel do not overwrite each other."""
        return self._digest[:16]

    @classmethod
    def from_function(cls, function: FunctionType, file: str) -> Self:
        """The locator of this kernel."""
        return cls(function, file)


class _Kept(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes: ClassVar = [KernelLocator]


class _KernelCache(FunctionCache):  # type: ignore[misc]
    _impl_class = _Kept


class _OpenedLate:
    """A kernel's cache, opened when Numba first asks it: only then are all names of the kernel's module known."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    @cached_property
    def _opened(self) -> _KernelCache:
        return _KernelCache(self._function)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)


def kernel(function: Kernel) -> Kernel:
    """Compile a function of arrays and scalars: without the GIL, and kept on disk for the next process."""
    compiled = numba.njit(nogil=True)(function)
    compiled._cache = _OpenedLate(function)
    kept: Kernel = compiled
    return kept


def inlined(function: Kernel) -> Kernel:
    """Compile a part of kernels into each kernel that calls it: a call costs more than the few steps such a part takes."""
    compiled: Kernel = numba.njit(nogil=True, forceinline=True)(function)
    return compiled


@intrinsic  # type: ignore[untyped-decorator]
def load8(_: Any, data: Any, at: Any) -> Any:
    """The eight bytes `data[at:at + 8]` as one little-endian number. The caller sees to it that they exist."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())
        value = builder.load(place)
        value.align = 1
        return value

    return types.uint64(data, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def trailing_zeros(_: Any, number: Any) -> Any:
    """Number of zero bits below the lowest one of a 64-bit number; 64 for 0."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def ones(_: Any, number: Any) -> Any:
    """Number of one bits of a 64-bit number."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def store8(_: Any, data: Any, at: Any, value: Any) -> Any:
    """Write a number to the eight bytes `data[at:at + 8]`, lowest first. The caller sees to it that they exist."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())
        builder.store(arguments[2], place).align = 1
        return context.get_dummy_value()

    return types.none(data, types.int64, types.uint64), generate
