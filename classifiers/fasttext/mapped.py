r"""A fastText model as it lies in its file: mapped, so that all workers of a machine share one copy, and asked by kernels.

The library reads a model into the memory of every process that asks it; DCLM's has 2.4 GB. Here nothing is read: rows are
added up where they lie in the file (at any alignment), and a worker of its own has only the index of the dictionary, 14 to
20 bytes a word. The kernels follow fastText 0.9.3 (dictionary.cc, matrix.cc, loss.cc) to the order in which float32 are
added: `ova` and `ns` look their probabilities up in a table of 512 steps, where the last bit of a sum can cost .008.
A quantized model (.ftz) is small and left to the library.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from classifiers.fasttext.file import AFTER_WORD, HS, NS, OVA, SOFTMAX, Layout, ModelFileError
from filters.kernels.compiled import inlined, kernel
from filters.kernels.text import Bytes, Offsets

Singles = npt.NDArray[np.float32]

FNV_START, FNV_STEP = np.uint32(2166136261), np.uint32(16777619)
NGRAM_STEP = np.uint64(116049371)
NEWLINE_WORD = np.frombuffer(b"</s>", np.uint8)
NEWLINE_HASH = np.uint32(3617362777)  # of that word
BEGIN_MARK, END_MARK = 60, 62  # < and > around a word whose parts are hashed
NOTED = 32  # rows that are fetched ahead of being added: all of them fit the first cache
CACHE_LINE = 64
LEAST = np.float64(1e-5)  # fastText adds it to a probability before it takes the logarithm
LEAST_LOGARITHM = np.float32(np.log(LEAST))
EDGE = np.float32(8)  # the sigmoid is 0 and 1 beyond
STEPS = 512
STEPS_PER_ONE = np.float32(STEPS / 16)
UNREACHED = 10**15  # count of a node that has no children yet, in building a Huffman tree


class Tables(NamedTuple):
    """A model as kernels take it. Positions are bytes from the file's beginning.

    `slots`: the dictionary as an open hash table: in the bits of `numbers` an entry's index + 1, above them its hash; 0 is
    empty. `children` (nodes, 2) and
    `leaves` (in the order of a walk through the tree): the Huffman tree of labels; empty but for hierarchical softmax.
    `newline`: the entry of the word that fastText reads at a line's end, -1 without one.
    """

    file: Bytes
    starts: Offsets
    slots: npt.NDArray[np.uint32]
    numbers: np.uint32
    words: int
    input: int
    output: int
    dim: int
    labels: int
    newline: int
    shortest: int
    longest: int
    together: int
    buckets: int
    loss: int
    sigmoids: Singles
    children: npt.NDArray[np.int32]
    leaves: npt.NDArray[np.int32]


class Scratch(NamedTuple):
    """What a kernel writes into while it reads a line: the sum of its rows, rows that are fetched but not added yet, the
    hashes of its words with their sign drawn out, and a word between its marks."""

    hidden: Singles
    noted: Offsets
    hashes: npt.NDArray[np.uint64]
    marked: Bytes


@intrinsic  # type: ignore[untyped-decorator]
def load_float(_: Any, data: Any, at: Any) -> Any:
    """The four bytes `data[at:at + 4]` as a float32, at any alignment. The caller sees to it that they exist."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.FloatType().as_pointer())
        value = builder.load(place)
        value.align = 1
        return value

    return types.float32(data, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(_: Any, data: Any, at: Any) -> Any:
    """Have the cache line of `data[at]` fetched, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), number, number, number])
        name = "llvm.prefetch.p0i8"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.call(function, [place, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(data, types.int64), generate


@inlined
def fnv(hashed: np.uint32, byte: int) -> np.uint32:
    """One step of FNV-1a as fastText takes it: a byte is a signed char, so that those beyond ASCII flip all upper bits."""
    wide = np.uint32(byte) | np.uint32(0xFFFFFF00) if byte >= 0x80 else np.uint32(byte)
    return np.uint32((hashed ^ wide) * FNV_STEP)


@kernel
def hash_word(data: Bytes, start: int, end: int) -> np.uint32:
    """FastText's hash of `data[start:end]`."""
    hashed = FNV_START
    for at in range(start, end):
        hashed = fnv(hashed, int(data[at]))
    return hashed


@kernel
def index_entries(file: Bytes, starts: Offsets, slots: npt.NDArray[np.uint32], numbers: np.uint32) -> None:
    """Put every entry of the dictionary into the hash table; of equal ones the first is found."""
    mask = len(slots) - 1
    for entry in range(len(starts) - 1):
        hashed = hash_word(file, starts[entry], starts[entry + 1] - AFTER_WORD)
        slot = int(hashed) & mask
        while slots[slot] != 0:
            slot = (slot + 1) & mask
        slots[slot] = hashed & ~numbers | np.uint32(entry + 1)


@inlined
def is_entry(file: Bytes, at: int, lines: Bytes, start: int, end: int) -> bool:
    """Whether the entry at `at` is the word `lines[start:end]`; a word holds no NUL, which ends an entry."""
    for k in range(end - start):
        if file[at + k] != lines[start + k]:
            return False
    return bool(file[at + end - start] == 0)


@kernel
def find_entry(t: Tables, hashed: np.uint32, lines: Bytes, start: int, end: int) -> int:
    """The index of a word in the dictionary, -1 where it is not in it."""
    mask = len(t.slots) - 1
    slot = int(hashed) & mask
    while t.slots[slot] != 0:
        if (t.slots[slot] ^ hashed) & ~t.numbers == 0:
            entry = int(t.slots[slot] & t.numbers) - 1
            if is_entry(t.file, t.starts[entry], lines, start, end):
                return entry
        slot = (slot + 1) & mask
    return -1


@inlined
def add_noted(t: Tables, s: Scratch, count: int) -> None:
    """Add the first `count` rows that are noted, in order."""
    for k in range(count):
        at = t.input + 4 * t.dim * s.noted[k]
        for column in range(t.dim):
            s.hidden[column] += load_float(t.file, at + 4 * column)


@inlined
def note(t: Tables, s: Scratch, count: int, row: int) -> int:
    """Have a row fetched that is to be added after `count` others; a full notebook is added up first."""
    at = count % NOTED
    if at == 0 and count > 0:
        add_noted(t, s, NOTED)
    s.noted[at] = row
    place = t.input + 4 * t.dim * row
    for line in range(0, 4 * t.dim, CACHE_LINE):
        prefetch(t.file, place + line)
    return count + 1


@kernel
def note_parts(t: Tables, s: Scratch, count: int, size: int) -> int:
    """Note the parts of the word `marked[:size]`: all of `shortest` to `longest` characters, but no mark alone."""
    for start in range(size):
        if s.marked[start] & 0xC0 == 0x80:
            continue
        hashed = FNV_START
        at = start
        for characters in range(1, t.longest + 1):
            if at == size:
                break
            hashed = fnv(hashed, int(s.marked[at]))
            at += 1
            while at < size and s.marked[at] & 0xC0 == 0x80:
                hashed = fnv(hashed, int(s.marked[at]))
                at += 1
            if characters >= t.shortest and not (characters == 1 and (start == 0 or at == size)):
                count = note(t, s, count, t.words + int(hashed % np.uint32(t.buckets)))
    return count


@kernel
def note_words(t: Tables, s: Scratch, lines: Bytes, start: int, end: int) -> tuple[int, int]:
    """Note the rows of the words of a line, and of their parts where the model has any: how many rows, how many words.

    The line ends with its newline, which is a word to fastText; words have one blank between them.
    """
    count = words = 0
    while start < end - 1:
        hashed = FNV_START
        at = start
        while lines[at] != 32 and lines[at] != 10:
            hashed = fnv(hashed, int(lines[at]))
            at += 1
        entry = find_entry(t, hashed, lines, start, at)
        if entry < t.words:  # a label among the words of a page is passed over
            s.hashes[words] = np.uint64(np.int64(np.int32(hashed)))
            words += 1
            if entry >= 0:
                count = note(t, s, count, entry)
            if t.longest > 0:
                s.marked[0] = BEGIN_MARK
                for k in range(at - start):
                    s.marked[1 + k] = lines[start + k]
                s.marked[1 + at - start] = END_MARK
                count = note_parts(t, s, count, at - start + 2)
        start = at + 1
    s.hashes[words] = np.uint64(np.int64(np.int32(NEWLINE_HASH)))
    return note(t, s, count, t.newline) if t.newline >= 0 else count, words + 1


@kernel
def note_ngrams(t: Tables, s: Scratch, count: int, words: int) -> int:
    """Note the rows of all runs of 2 to `together` words."""
    for first in range(words):
        hashed = s.hashes[first]
        for last in range(first + 1, min(words, first + t.together)):
            hashed = hashed * NGRAM_STEP + s.hashes[last]
            count = note(t, s, count, t.words + int(hashed % np.uint64(t.buckets)))
    return count


@kernel
def dot(t: Tables, row: int, hidden: Singles) -> np.float32:
    """A row of the output matrix times `hidden`, added up in order."""
    total = np.float32(0)
    at = t.output + 4 * t.dim * row
    for column in range(t.dim):
        total += load_float(t.file, at + 4 * column) * hidden[column]
    return total


@inlined
def logarithm(probability: np.float32) -> np.float32:
    """As fastText takes it."""
    return np.float32(np.log(np.float64(probability) + LEAST))


@kernel
def sigmoid(t: Tables, value: np.float32) -> np.float32:
    """From the table, by a place that fastText rounds to float32; not a number stays none."""
    if value < -EDGE:
        return np.float32(0)
    if value > EDGE:
        return np.float32(1)
    return value if np.isnan(value) else t.sigmoids[int((value + EDGE) * STEPS_PER_ONE)]


@kernel
def write_softmax(t: Tables, hidden: Singles, logarithms: Singles) -> None:
    """The logarithm of every label's probability."""
    most = dot(t, 0, hidden)
    for label in range(t.labels):
        logarithms[label] = dot(t, label, hidden)
        most = max(most, logarithms[label])
    total = np.float32(0)
    for label in range(t.labels):
        logarithms[label] = np.exp(logarithms[label] - most)
        total += logarithms[label]
    for label in range(t.labels):
        logarithms[label] = logarithm(logarithms[label] / total)


@kernel
def write_tree(t: Tables, hidden: Singles, logarithms: Singles, sums: Singles) -> None:
    """The logarithm of every label's probability, minus infinity where fastText turns back on the way to it."""
    sums[len(sums) - 1] = 0
    for node in range(len(sums) - 1, t.labels - 1, -1):
        left, right = t.children[node]
        share = np.float32(1.0 / np.float64(np.float32(1) + np.exp(-dot(t, node - t.labels, hidden))))
        sums[left] = sums[node] + logarithm(np.float32(1.0 - np.float64(share)))
        sums[right] = sums[node] + logarithm(share)
        if sums[node] < LEAST_LOGARITHM:
            sums[left] = sums[right] = -np.inf
    for label in range(t.labels):
        logarithms[label] = sums[label] if not sums[label] < LEAST_LOGARITHM else -np.inf


@kernel
def write_logarithms(t: Tables, hidden: Singles, logarithms: Singles, sums: Singles) -> None:
    """The logarithm of every label's probability, by the loss that the model was trained with."""
    if t.loss == SOFTMAX:
        write_softmax(t, hidden, logarithms)
    elif t.loss == HS:
        write_tree(t, hidden, logarithms, sums)
    else:
        for label in range(t.labels):
            logarithms[label] = logarithm(sigmoid(t, dot(t, label, hidden)))


@kernel
def likeliest(t: Tables, logarithms: Singles) -> int:
    """The label with the largest logarithm; of equal ones the one that fastText comes to last."""
    best = t.leaves[0] if t.loss == HS else 0
    for k in range(t.labels):
        label = t.leaves[k] if t.loss == HS else k
        if logarithms[label] >= logarithms[best]:
            best = label
    return best


@kernel
def ask_lines(t: Tables, lines: Bytes, first: Offsets, wanted: int) -> tuple[npt.NDArray[np.int64], Singles]:
    """A label and its probability for each line: `wanted`, or the likeliest where that is -1.

    Not a number where a line is empty, or the model has no row for anything in it.
    """
    pages = len(first) - 1
    longest = 0
    for page in range(pages):
        longest = max(longest, first[page + 1] - first[page])
    s = Scratch(
        hidden=np.empty(t.dim, np.float32),
        noted=np.empty(NOTED, np.int64),
        hashes=np.empty(longest // 2 + 2, np.uint64),
        marked=np.empty(longest + 2, np.uint8),
    )
    logarithms, sums = np.empty(t.labels, np.float32), np.empty(len(t.children), np.float32)
    labels, probabilities = np.full(pages, wanted), np.full(pages, np.nan, np.float32)
    for page in range(pages):
        if first[page] == first[page + 1]:
            continue
        s.hidden[:] = 0
        count, words = note_words(t, s, lines, first[page], first[page + 1])
        count = note_ngrams(t, s, count, words)
        if count == 0:
            continue
        add_noted(t, s, (count - 1) % NOTED + 1)
        s.hidden[:] *= np.float32(1.0 / count)
        write_logarithms(t, s.hidden, logarithms, sums)
        if wanted < 0:
            labels[page] = likeliest(t, logarithms)
        probabilities[page] = np.exp(logarithms[labels[page]])
    return labels, probabilities


def huffman_tree(counts: list[int]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The two children of each node, leaves (-1, -1) first, and the leaves from left to right.

    counts: of the labels, as training saw them, largest first; ties are broken as fastText breaks them.
    """
    leaves = len(counts)
    weights = counts + [UNREACHED] * (leaves - 1)
    children = np.full((2 * leaves - 1, 2), -1, np.int32)
    leaf, node = leaves - 1, leaves
    for parent in range(leaves, 2 * leaves - 1):
        for side in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children[parent, side], leaf = leaf, leaf - 1
            else:
                children[parent, side], node = node, node + 1
        weights[parent] = sum(weights[child] for child in children[parent])
    order: list[int] = []
    waiting = [2 * leaves - 2]
    while waiting:
        at = waiting.pop()
        if at < leaves:
            order.append(at)
        else:
            waiting += [int(children[at, 1]), int(children[at, 0])]
    return children, np.array(order, np.int32)


def _sigmoids() -> Singles:
    at = np.arange(STEPS + 1) / float(STEPS_PER_ONE) - float(EDGE)
    exponentials = np.exp(-at).astype(np.float32)  # C's expf rounds so; NumPy's own for float32 is off by more
    found: Singles = (1 / (1 + exponentials.astype(np.float64))).astype(np.float32)
    return found


def can_be_mapped(layout: Layout) -> bool:
    """Whether the model is one of float32; a quantized one is left to the library."""
    return layout.input is not None and layout.output is not None


def is_finite(layout: Layout) -> bool:
    """Whether all weights of labels are numbers: then every sum of words that is one gives probabilities."""
    assert layout.output is not None
    place, size = layout.output.at, 4 * layout.output.rows * layout.output.columns
    return bool(np.isfinite(np.frombuffer(layout.data[place : place + size], "<f4")).all())


def tables(layout: Layout) -> Tables:
    """The model of a file as the kernels take it. Raises ModelFileError where its parts do not fit together."""
    arguments, weights, output = layout.arguments, layout.input, layout.output
    assert weights is not None and output is not None
    longest = arguments.maxn if layout.version > 11 else 0  # classifiers of version 11 do not use parts of words
    hashed = longest > 0 or arguments.wordNgrams > 1
    fits = (
        arguments.loss in (HS, NS, SOFTMAX, OVA)
        and 0 < arguments.dim == weights.columns == output.columns
        and 0 < layout.labels == output.rows
        and layout.words + (arguments.bucket if hashed else 0) <= weights.rows
        and not (hashed and arguments.bucket <= 0)
    )
    if not fits:
        raise ModelFileError(f"model file {layout.path} is damaged: its matrices have other sizes than its header says")
    counts = [layout.entry(layout.words + label)[1] for label in range(layout.labels)] if arguments.loss == HS else [1]
    if max(counts) >= UNREACHED:
        raise ModelFileError(f"model file {layout.path} is damaged: a label was seen {max(counts):,} times")
    children, leaves = huffman_tree(counts)
    slots = np.zeros(1 << int(1.5 * len(layout.starts)).bit_length(), np.uint32)
    numbers = np.uint32((1 << len(layout.starts).bit_length()) - 1)
    index_entries(layout.data, layout.starts, slots, numbers)
    found = Tables(
        file=layout.data,
        starts=layout.starts,
        slots=slots,
        numbers=numbers,
        words=layout.words,
        input=weights.at,
        output=output.at,
        dim=arguments.dim,
        labels=layout.labels,
        newline=-1,
        shortest=arguments.minn,
        longest=longest,
        together=arguments.wordNgrams,
        buckets=max(arguments.bucket, 1),
        loss=arguments.loss,
        sigmoids=_sigmoids(),
        children=children,
        leaves=leaves,
    )
    return found._replace(newline=int(find_entry(found, NEWLINE_HASH, NEWLINE_WORD, 0, len(NEWLINE_WORD))))
