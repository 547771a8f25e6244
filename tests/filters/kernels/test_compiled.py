"""Compiled code is used again by the next process, and never after anything that it was compiled from has changed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from filters.kernels.compiled import digest, kernel

REPOSITORY = Path(__file__).resolve().parents[3]

SHAPES = """
import numpy as np
from filters.kernels.compiled import kernel

@kernel
def area(side):
    return squared(side) * SCALE + WEIGHTS[0]

@kernel
def countdown(number):
    return SCALE if number == 0 else countdown(number - 1)

@kernel
def squared(number):
    return number * number

SCALE = 1
WEIGHTS = np.array([0, 1])
"""
USE = """
import shapes
print(shapes.area(3), shapes.countdown(2), *(sum(one.stats.cache_hits.values()) for one in (shapes.area, shapes.countdown)))
"""


@pytest.fixture
def used(tmp_path):
    """What a fresh process says of a version of the module: two results, and for each whether it was compiled before."""

    def use(text):
        (tmp_path / "shapes.py").write_text(text)
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", f"import sys; sys.path[:0] = [{str(REPOSITORY)!r}]\n{USE}"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return [int(word) for word in done.stdout.split()]

    return use


@pytest.mark.parametrize(
    ("before", "after", "area"),
    [
        ("number * number", "number + number", 6),
        ("SCALE = 1", "SCALE = 2", 18),
        ("np.array([0, 1])", "np.array([5, 1])", 14),
    ],
    ids=["kernel", "number", "array"],
)
def test_a_change_below_a_kernel_compiles_it_again_in_the_next_process(used, before, after, area):
    assert used(SHAPES) == [9, 1, 0, 0]
    assert used(SHAPES) == [9, 1, 1, 1]
    assert used(SHAPES.replace(before, after))[::2] == [area, 0]


def test_what_an_intrinsic_generates_is_part_of_the_key():
    def made(value):
        names = {"__name__": "made", "kernel": kernel}
        exec(
            "from numba.core import types\n"
            "from numba.extending import intrinsic\n"
            "@kernel\ndef asks():\n    return answer()\n"
            "@intrinsic\ndef answer(context):\n"
            "    def generate(context, builder, signature, arguments):\n"
            f"        return context.get_constant(types.int64, {value})\n"
            "    return types.int64(), generate\n",
            names,
        )
        return digest(names["asks"].py_func)

    assert made(1) == made(1) != made(2)


def test_kernels_that_call_each_other_have_a_key():
    names = {"__name__": "made", "kernel": kernel}
    even, odd = ("@kernel\ndef {}(n):\n    return n {} 0 or {}(n - 1)\n".format(*one) for one in EACH_OTHER)
    exec(even + odd, names)
    assert digest(names["even"].py_func) != digest(names["odd"].py_func)


EACH_OTHER = [("even", "==", "odd"), ("odd", "!=", "even")]
