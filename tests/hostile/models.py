"""Models, tokenizers and checkpoints that are made to hurt, each with what its refusal must say; all of them made here.

    python tests/hostile/models.py FOLDER

writes them into a folder. What an ending means: `.bin` fastText, `.arpa` and `.binary` KenLM, `.pieces` SentencePiece,
`.tensors` a linear model of four weights, `.tokenizer` a tokenizer.json; and as zip files of a folder a run's `.checkpoint`,
`.run` a finished one, `.encoder` a foreign encoder.
"""

import gzip
import hashlib
import io
import json
import struct
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save

CANARY = "unpickled"
"""The folder that appears in the working directory where one of the pickles is loaded."""
PICKLE = b"cos\nmkdir\n(S'" + CANARY.encode() + b"'\ntR."


class Hostile(NamedTuple):
    """A file and what its refusal must say; of a checkpoint, why it is passed over."""

    hazard: str
    name: str
    data: bytes
    says: str


FASTTEXT = struct.pack("<ii", 793712314, 12)


def fasttext(
    dim=4, bucket=0, grams=1, loss=3, words=2, labels=2, rows=2, columns=4, pruned=-1, quantized=False, weight=0.5
) -> bytes:
    """A model of two words and two labels whose header says what one likes."""
    names = (b"a", b"b", b"__label__1", b"__label__2")
    entries = b"".join(name + b"\0" + struct.pack("<qb", 9, name.startswith(b"__")) for name in names)
    codes = struct.pack("<?qqi2s4i", False, rows, columns, 2, b"\0\1", 4, 1, 4, 4) + bytes(4 * 4 * 256)
    plain = struct.pack("<qq8f", rows, columns, *[0.5] * 8)
    return b"".join([
        FASTTEXT, struct.pack("<12id", dim, 5, 5, 1, 5, grams, loss, 3, bucket, 0, 0, 100, 1e-4),
        struct.pack("<iiiqq", min(words + labels, 2**31 - 1), words, labels, 99, pruned), entries,
        struct.pack("<?", quantized), codes if quantized else plain, struct.pack("<?qq8f", False, 2, 4, *[weight] * 8),
    ])  # fmt: skip


def of_fasttext() -> Iterator[Hostile]:
    """Files that fastText's own loader hangs on, crashes on, takes memory for, or takes."""
    known = "no usable fastText model"
    whole, most = fasttext(), 2**31 - 1
    for name, data in {
        "garbage": b"\x5a" * 999, "page": b"<!DOCTYPE html><html>404</html>", "header": FASTTEXT, "zeros": bytes(4096),
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "pickle": PICKLE,
        "stub": FASTTEXT + struct.pack("<12i", *[10] * 12) + bytes(60), "old": struct.pack("<ii", 793712314, 99) + bytes(99),
        "huge": FASTTEXT + struct.pack("<12i", *[most] * 12) + bytes(99),
        "negative": FASTTEXT + struct.pack("<12i", *[-1] * 12) + bytes(99),
    }.items():  # fmt: skip
        yield Hostile("no fastText model", f"{name}.bin", data, known)
    yield Hostile("an empty model", "empty.bin", b"", "is empty")
    for cut in (1, 40, 100, len(whole) - 60):
        yield Hostile("a fastText model that is cut", f"cut-{cut}.bin", whole[:-cut], "truncated")
    yield Hostile("a fastText model with more behind", "more.bin", whole + bytes(9), "9 bytes follow its end")
    yield Hostile("weights that are no numbers", "nan.bin", fasttext(weight=float("nan")), "no probabilities")
    for name, (lie, says) in {
        "dim": ({"dim": most}, "4 columns and its header says 2,147,483,647"),
        "quantized-dim": ({"dim": most, "quantized": True}, "4 columns and its header says 2,147,483,647"),
        "words": ({"words": most - 2}, "truncated"), "labels": ({"labels": 10**9, "words": 10**9}, "truncated"),
        "rows": ({"rows": 2**62}, "truncated"), "columns": ({"columns": 2**62}, "the header is damaged"),
        "both": ({"rows": 2**40, "columns": 2**40}, "the header is damaged"), "pruned": ({"pruned": 2**60}, "truncated"),
        "negative-words": ({"words": -2, "labels": 6}, "-2 words"), "negative-rows": ({"rows": -2}, "negative size"),
        "bucket": ({"bucket": most, "grams": 2}, "other sizes"), "no-bucket": ({"grams": 2}, "other sizes"),
        "loss": ({"loss": 77}, "other sizes"),
    }.items():  # fmt: skip
        yield Hostile("a fastText header that lies", f"lies-{name}.bin", fasttext(**lie), says)


ARPA = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-2\t<unk>\t0
0\t<s>\t-0.25
-1\t</s>\t0
-0.5\tthe\t-0.125
-0.75\twhale\t-0.0625

\\2-grams:
-0.25\t<s> the
-0.375\tthe whale
-0.5\twhale </s>

\\end\\
"""
BINARY = b"mmap lm http://kheafield.com/code format version 5\n".ljust(56, b"\0")
BINARY += struct.pack("<3f2IxxxxQ", 0, 1, -0.5, 1, 2**32 - 1, 1)
"""How a file of `build_binary` begins."""


def binary(order=2, multiplier=1.5, kind=0, counts=(10**15, 10**15)) -> bytes:
    """The whole header of a file of `build_binary`, and nothing behind it."""
    fixed = struct.pack("<BxxxfI?xxxIxxxx", order, multiplier, kind, True, 0)
    return BINARY + fixed + b"".join(struct.pack("<Q", count) for count in counts)


def of_kenlm() -> Iterator[Hostile]:
    """Files that are no KenLM model, end too early, or ask for more than there is."""
    orders = "\n".join(f"ngram {order}=1" for order in range(2, 40))
    for name, text in {
        "cut": ARPA[:-60], "huge": ARPA.replace("1=5", f"1={10**12}"), "negative": ARPA.replace("1=5", "1=-5"),
        "orders": ARPA.replace("ngram 2=3", orders), "not-a-number": ARPA.replace("-0.5\tthe", "nan\tthe"),
        "above-one": ARPA.replace("-0.5\tthe", "5\tthe"), "fewer": ARPA.replace("-0.75\twhale\t-0.0625\n", ""),
    }.items():  # fmt: skip
        yield Hostile("an ARPA file", f"{name}.arpa", text.encode(), "is damaged")
    for name, data in {
        "cut": BINARY, "no-counts": binary(counts=()), "huge": binary(), "orders": binary(255, counts=[9] * 255),
        "kind": binary(kind=99), "multiplier": binary(multiplier=-1e30),
    }.items():  # fmt: skip
        yield Hostile("a binary of KenLM", f"{name}.binary", data, "is damaged")
    others = {"zip": b"PK\3\4", "text": b"just text", "fasttext": FASTTEXT, "gz": gzip.compress(b""), "pickle": PICKLE}
    for name, data in {"empty": b"", **others}.items():
        yield Hostile("no model of KenLM", f"none-{name}.binary", data, "is no KenLM model")
    for name, data in {
        "empty": b"",
        "text": b"text",
        "cut": b"\n\x0e\n\x05<unk>",
        "huge": b"\n\xff\xff\xff\xff\x07",
    }.items():
        yield Hostile("no SentencePiece model", f"{name}.pieces", data, "no whole SentencePiece model")


def tensors(header: Any, body: bytes = b"") -> bytes:
    """A file of safetensors whose header says what one likes."""
    told = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(told)) + told + body


def of_weights(places: int) -> bytes:
    """A sound linear model."""
    return save({"weights": np.ones(places), "intercept": np.zeros(1)})


def _tensor(shape, begin, end, dtype="F64") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def of_safetensors() -> Iterator[Hostile]:
    """Linear models whose file is none, lies about its sizes, or holds another kind."""
    good = of_weights(4)
    intercept = _tensor([1], 32, 40)
    for name, data in {
        "empty": b"", "pickle": PICKLE, "cut": good[:-1], "half": good[: len(good) // 2], "more": good + b"\0",
        "header-2e63": struct.pack("<Q", 2**63) + b"{}", "header-2e40": struct.pack("<Q", 2**40) + b"{}",
        "no-json": tensors(b"{no"), "deep": tensors(b"[" * 50_000), "negative": tensors({"weights": _tensor([-4], 0, 32)}),
        "shape": tensors({"weights": _tensor([10**12], 0, 8 * 10**12), "intercept": intercept}),
        "overflow": tensors({"weights": _tensor([2**62, 2**62], 0, 0), "intercept": _tensor([1], 0, 8)}, bytes(8)),
        "overlap": tensors({"weights": _tensor([4], 0, 32), "intercept": _tensor([1], 0, 8)}, bytes(32)),
    }.items():  # fmt: skip
        yield Hostile("no safetensors", f"{name}.tensors", data, "is no safetensors file, or damaged")
    nan, other = save({"weights": np.array([1, np.nan, 0, 0]), "intercept": np.zeros(1)}), "it is another kind of model"
    yield Hostile("weights that are no numbers", "nan.tensors", nan, "no finite numbers")
    for name, held in {
        "names": {"w": np.ones(4)}, "single": {"weights": np.ones(4, np.float32), "intercept": np.zeros(1)},
    }.items():  # fmt: skip
        yield Hostile("weights of another model", f"{name}.tensors", save(held), other)
    yield Hostile("weights of another model", "short.tensors", of_weights(3), other)


def _tokenizer() -> dict[str, Any]:
    """The 256 bytes and a mark."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printed] + [chr(256 + at) for at in range(256 - len(printed))]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    vocabulary = {"<|endoftext|>": 0} | {letter: at for at, letter in enumerate(letters, 1)}
    mark = {"id": 0, "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False}
    return {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": level, "decoder": level,
        "added_tokens": [mark | {"normalized": False, "special": True}], "post_processor": None,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }  # fmt: skip


def tokenizer(vocabulary: Mapping[str, int] = {}, **parts: Any) -> bytes:
    """A sound tokenizer of bytes, with further entries and other parts."""
    told = _tokenizer()
    told["model"]["vocab"] |= vocabulary
    return json.dumps(told | parts).encode()


def of_tokenizers() -> Iterator[Hostile]:
    """Files that are no tokenizer, or one whose tokens cannot be used."""
    good = tokenizer()
    unreadable = {
        "empty": b"", "cut": good[: len(good) // 2], "list": b"[]", "null": b"null", "deep": b"[" * 100_000,
        "pickle": PICKLE, "html": b"<html>", "latin": good.replace(b"endoftext", b"endof\xff"),
        "version": tokenizer(version="9"),
        "below": tokenizer({"zz": -1}), "model": tokenizer(model={"type": "Magic"}),
        "merges": tokenizer(model={"type": "BPE", "vocab": {"a": 0}, "merges": ["q z"]}),
    }  # fmt: skip
    for name, data in unreadable.items():
        yield Hostile("no tokenizer", f"{name}.tokenizer", data, "is not a readable tokenizer")
    words = {"type": "WordLevel", "vocab": {"a": 0, "<|endoftext|>": 1}, "unk_token": "a"}
    for name, (data, says) in {
        "huge": (tokenizer({"zz": 4 * 10**9}), "expected each number once"),
        "gap": (tokenizer({"zz": 5000}), "expected each number once"),
        "twice": (tokenizer({"zz": 7}), "expected each number once"),
        "letters": (tokenizer({"漢": 257}), "are no bytes, such as one with '漢'"),
        "words": (tokenizer(model=words), "loses text"), "no-bytes": (tokenizer(pre_tokenizer=None), "loses text"),
        "lower": (tokenizer(normalizer={"type": "Lowercase"}), "loses text"),
        "no-mark": (good.replace(b"endoftext", b"end"), "no <|endoftext|> token"),
    }.items():  # fmt: skip
        yield Hostile("a tokenizer that cannot be used", f"{name}.tokenizer", data, says)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A folder as one file."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return sink.getvalue()


KEY = "this run"
"""What the sound checkpoint belongs to: a layer of three inputs and two outputs after one step of Adam."""
WEIGHTS = {"weight": np.ones((2, 3), np.float32), "bias": np.ones(2, np.float32)}
MOMENTS = {f"{name}.{kind}": one for name, one in WEIGHTS.items() for kind in ("exp_avg", "exp_avg_sq")}
MOMENTS |= {f"{name}.step": np.ones((), np.float32) for name in WEIGHTS}


def checkpoint(weights: bytes = save(WEIGHTS), moments: bytes = save(MOMENTS), state: Any = None, **told: Any) -> bytes:
    """A checkpoint with the right sums of whatever it holds."""
    files = {"weights.safetensors": weights, "optimizer.safetensors": moments}
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    state = {"key": KEY, "step": 1, "sha256": sums} | told if state is None else state
    digest = hashlib.sha256(json.dumps(state, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    return zipped(files | {"state.json": json.dumps({"state": state, "sha256": digest}).encode()})


def of_checkpoints() -> Iterator[Hostile]:
    """Checkpoints that must be passed over: cut, flipped, of another run or model, code in place of numbers."""
    weights, other = save(WEIGHTS), {"weight": np.ones((3, 3), np.float32), "bias": np.ones(3, np.float32)}
    files = {"weights.safetensors": weights, "optimizer.safetensors": save(MOMENTS)}
    with zipfile.ZipFile(io.BytesIO(checkpoint())) as opened:
        state = opened.read("state.json")
    for name, (data, says) in {
        "empty": (zipped({}), "No such file"), "no-weights": (zipped({"state.json": state}), "No such file"),
        "cut": (zipped(files | {"state.json": state, "weights.safetensors": weights[:-4]}), "does not match its SHA-256"),
        "flipped": (zipped(files | {"state.json": state.replace(b'"step": 1', b'"step": 2')}), "does not match its SHA-256"),
        "no-json": (zipped(files | {"state.json": state[:-9]}), ""), "deep": (zipped({"state.json": b"[" * 200_000}), ""),
        "list": (zipped({"state.json": b"[]"}), ""), "text": (checkpoint(state="text"), ""),
        "no-sums": (checkpoint(sha256={}), "holds no state"), "listed-sums": (checkpoint(sha256=[]), "holds no state"),
        "another-run": (checkpoint(key="another run"), "it belongs to another run"),
        "another-key": (checkpoint(steps=9), ""), "another-model": (checkpoint(save(other)), "is of another model"),
        "no-moments": (checkpoint(moments=save({"a": np.ones(1)})), "is of another model"),
        "nan": (checkpoint(save(WEIGHTS | {"bias": np.array([1, np.nan], np.float32)})), "bias is not finite"),
        "pickle": (checkpoint(PICKLE), ""), "pickled-moments": (checkpoint(moments=PICKLE), ""),
        "huge": (checkpoint(tensors({"weight": _tensor([2**40], 0, 2**42, "F32")})), ""),
    }.items():  # fmt: skip
        yield Hostile("a checkpoint", f"{name}.checkpoint", data, says)


CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8, "intermediate_size": 8, "vocab_size": 9,
    "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": True,
}  # fmt: skip


def of_folders() -> Iterator[Hostile]:
    """Folders of models with code in them, or without what they say they hold."""
    torch_file = zipped({"archive/data.pkl": PICKLE, "archive/version": b"3\n"})
    config, some = json.dumps(CONFIG).encode(), save({"model.norm.weight": np.ones(8, np.float32)})
    wide, tall = (json.dumps(CONFIG | {key: 2**40}).encode() for key in ("hidden_size", "num_hidden_layers"))
    for name, (files, says) in {
        "pickle": ({"config.json": config, "pytorch_model.bin": PICKLE}, "no model.safetensors"),
        "torch": ({"config.json": config, "pytorch_model.bin": torch_file}, "no model.safetensors"),
        "named-so": ({"config.json": config, "model.safetensors": torch_file}, "does not load"),
        "cut": ({"config.json": config, "model.safetensors": some[:-4]}, "does not load"),
        "no-config": ({"model.safetensors": some}, "does not load"),
        "half": ({"config.json": config, "model.safetensors": some}, "another model.embed_tokens.weight than"),
        "wide": ({"config.json": wide, "model.safetensors": some}, "does not load"),
        "tall": ({"config.json": tall, "model.safetensors": some}, "says 1099511627776 layers"),
    }.items():  # fmt: skip
        yield Hostile("a run's model", f"{name}.run", zipped(files), says)
    whole = {"config.json": config, "tokenizer_config.json": b"{}"}
    for name, (files, says) in {
        "pickle": (whole | {"pytorch_model.bin": PICKLE}, "they can hold code"),
        "torch": (whole | {"pytorch_model.bin": torch_file, "training_args.bin": torch_file}, "they can hold code"),
        "code": (
            whole | {"model.safetensors": some, "config.json": json.dumps({"auto_map": {"AutoModel": "a.A"}}).encode()},
            "which is never run",
        ),
        "no-json": (whole | {"model.safetensors": some, "config.json": b"{"}, "is no JSON"),
    }.items():  # fmt: skip
        yield Hostile("an encoder", f"{name}.encoder", zipped(files), says)


FAMILIES = (of_fasttext, of_kenlm, of_safetensors, of_tokenizers, of_checkpoints, of_folders)


def all_models() -> list[Hostile]:
    """Every file."""
    return [one for family in FAMILIES for one in family()]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for one in all_models():
        (folder / one.name).write_bytes(one.data)
