"""Training by KenLM's own programs: text in, SentencePiece where it is asked for, `lmplz`, `build_binary`.

Models whose perplexities are compared share one SentencePiece, trained on as much text of each: perplexity is per token, and
over other tokens it is another number. Nothing is drawn by chance, SentencePiece has one thread, and `lmplz` sorts: the same
pages in the same order give the same bytes.
"""

import hashlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import sentencepiece

from classifiers.examples import MOST_BYTES, MOST_HELD_OUT
from classifiers.kenlm.text import CHARACTERS, normalised
from classifiers.kinds import Pages, TrainingError
from filters.files import no_space, told_full

HELD_OUT_SHARE = 0.05
"""Of the pages, as long as they are not too many. An assumption: a model is the better for every page."""
TOOLS = ("lmplz", "build_binary")
SORTING = "1G"
"""Memory that `lmplz` sorts in; it goes on in files. Without it, it takes 80 % of the machine's."""
FEWEST_TOKENS = 1_000
"""Fewer are no language. An assumption."""
SAMPLE_BYTES = 4_000_000
"""Of normalised text that SentencePiece is trained on, from all over the files: 9 s on one core. An assumption."""
PASSAGE = 2_000
"""Bytes that SentencePiece is given at a time: it passes over what is longer than 4,192."""
COVERAGE = 0.9995
"""Share of the characters that are pieces of their own, as in CCNet; the others are unknown."""


def tool(name: str) -> str | None:
    """The path of one of KenLM's programs: beside this Python, else on the PATH."""
    return shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def missing_tools() -> str | None:
    """What cannot be trained without, in a sentence; None where all is there."""
    missing = [name for name in TOOLS if tool(name) is None]
    return f"KenLM's {' and '.join(missing)} cannot be found: make kenlm-tools builds them" if missing else None


def write_lines(pages: Pages, whole_words: bool, file: Path) -> tuple[int, list[str]]:
    """Write pages normalised, one a line, those without text left out; how many there are, and some that are held out.

    A page is held out by the hash of its line, so that no copy of it is trained on; the first page never is. Raises
    TrainingError.
    """
    count, first, held_out = 0, "", dict[str, str]()
    with file.open("w", encoding="utf-8", errors="replace", newline="\n") as out:
        for page in pages:
            text = page.text[:CHARACTERS]
            line = normalised(text.replace("\n", " ") if whole_words else text)
            first = first or line
            if line != first and is_held_out(line) and (line in held_out or len(held_out) < MOST_HELD_OUT):
                held_out[line] = text[:MOST_BYTES]
            elif line:
                out.write(line + "\n")
                count += 1
    if count == 0:
        raise TrainingError(f"no page with text to train {file.name} on: name other files, or check that they hold text")
    return count, list(held_out.values())


def is_held_out(line: str) -> bool:
    """Whether a page of this line may be kept from training."""
    eight = hashlib.blake2b(line.encode("utf-8", "replace"), digest_size=8, salt=b"held out").digest()
    return int.from_bytes(eight, "big") < HELD_OUT_SHARE * 2**64


def train_pieces(texts: Sequence[Path], count: int, made: Path) -> int:
    """Train a SentencePiece model on files of normalised lines; how many pieces it has, fewer than asked on little text.

    Raises TrainingError.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(passage for text in texts for passage in _sample(text, SAMPLE_BYTES // len(texts))),
            model_writer=model,
            vocab_size=count,
            hard_vocab_limit=False,
            character_coverage=COVERAGE,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise TrainingError(
            f"SentencePiece cannot make {count:,} pieces of this text: {' '.join(str(error).split())}"
        ) from None
    made.write_bytes(model.getvalue())
    pieces: int = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size()
    return pieces


def _sample(file: Path, most: int) -> Iterator[str]:
    """Passages from all over a file, `most` bytes of it."""
    every = max(1, -(-file.stat().st_size // most))
    at = 0
    with file.open("rb") as lines:
        for line in lines:
            for start in range(0, len(line), PASSAGE):
                if at % every == 0:
                    yield line[start : start + PASSAGE].decode(errors="ignore").strip()
                at += 1


def train_model(text: Path, pieces: Path | None, order: int, made: Path, folder: Path) -> int:
    """Train a model on a file of normalised lines and write it as `build_binary` does; how many tokens it saw.

    folder: for what lies between. Raises TrainingError.
    """
    cut, arpa = folder / "tokens", folder / "arpa"
    count = _cut(text, pieces, cut)
    if count < FEWEST_TOKENS:
        raise TrainingError(
            f"{count:,} tokens to train {made.stem} on, at least {FEWEST_TOKENS:,} are needed: "
            "name more files, or check that they hold text"
        )
    flags = ["--discount_fallback", "--skip_symbols", "-S", SORTING, "-T", str(folder)]
    _run("lmplz", "-o", str(order), *flags, "--text", str(cut), "--arpa", str(arpa))
    _run("build_binary", "probing", str(arpa), str(folder / made.name))
    arpa.unlink()
    (folder / made.name).rename(made)
    return count


def _cut(text: Path, pieces: Path | None, cut: Path) -> int:
    """Write the tokens of every line with blanks between them; how many there are."""
    model = None if pieces is None else sentencepiece.SentencePieceProcessor(model_proto=pieces.read_bytes())
    count = 0
    with text.open(encoding="utf-8", newline="\n") as lines, cut.open("w", encoding="utf-8", newline="\n") as out:
        for line in lines:
            tokens: list[str] = line.split() if model is None else model.encode(line.rstrip("\n"), out_type=str)
            out.write(" ".join(tokens) + "\n")
            count += len(tokens)
    return count


def _run(name: str, *arguments: str) -> None:
    """Run one of KenLM's programs; the last argument is what it writes. Raises TrainingError, OSError for a full disk."""
    path = tool(name)
    if path is None:
        raise TrainingError(str(missing_tools()))
    done = subprocess.run([path, *arguments], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode and told_full(done.stderr):
        raise no_space(Path(arguments[-1]))
    if done.returncode:
        said = " ".join(done.stderr.split())[-300:] or f"exit status {done.returncode}"
        raise TrainingError(f"{name} failed: {said}")
