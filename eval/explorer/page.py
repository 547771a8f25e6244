"""The explorer: one HTML page with sliders over a sample of pages, all of it in the file and none of it from elsewhere.

Numbers travel as they are compared, 32 bits a signal, in one compressed block; text from the crawl travels compressed too
and is put into the page as text alone, so that nothing in it can become markup or code.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from eval.explorer.sampled import Sampled
from eval.report.safe_text import plain

LEVEL = 6
"""Of zlib: more takes seconds and saves little."""
ALIGNED = 8
NAME_SHOWN = 80


def html(sampled: Sampled) -> str:
    """The page; the same sample gives the same bytes."""
    block = _Block()
    facts = _facts(sampled, block)
    texts = json.dumps([[one.row, one.address, one.text] for one in sampled.excerpts], ensure_ascii=False)
    script = _file("explorer.js")
    page: str = _template().render(
        name=plain(sampled.name, NAME_SHOWN),
        style=Markup(_file("explorer.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        facts=_packed(json.dumps(facts, ensure_ascii=False).encode()),
        columns=_packed(bytes(block.bytes)),
        texts=_packed(texts.encode("utf-8", "replace")),
    )
    return page


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, LEVEL)).decode()


class _Block:
    """Arrays one after another, each at a multiple of eight bytes, so that a browser can look at them where they lie."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def put(self, values: Any) -> dict[str, Any]:
        """Add an array; where it lies and what it is."""
        at = len(self.bytes)
        data = np.ascontiguousarray(values)
        self.bytes += data.astype(data.dtype.newbyteorder("<")).tobytes()
        self.bytes += b"\0" * (-len(self.bytes) % ALIGNED)
        return {"at": at, "type": data.dtype.name}


def _facts(sampled: Sampled, block: _Block) -> dict[str, Any]:
    """What the page knows beside the arrays, and where in the block each of those lies."""
    return {
        "pages": len(sampled),
        "strata": [[one.name, one.pages, one.sampled] for one in sampled.strata],
        "strata_of": block.put(sampled.strata_of),
        "weights": {name: block.put(values) for name, values in sampled.weights.items()},
        "signals": list(_signals(sampled, block)),
        "bounds": {signal: dict(bounds) for signal, bounds in sampled.bounds.items()},
        "switches": [
            {
                "signal": one.signal,
                "text": plain(one.text, 200),
                "yaml": {name: _flow(value) for name, value in one.asked.items()} if isinstance(one.asked, Mapping) else {},
                "whole": None if isinstance(one.asked, Mapping) else _flow(one.asked),
                "on": one.on,
                "fails": block.put(one.fails.astype(np.uint8)),
            }
            for one in sampled.switches
        ],
        "left_out": list(sampled.left_out),
    }


def _signals(sampled: Sampled, block: _Block) -> Iterator[dict[str, Any]]:
    for number in sampled.numbers:
        about = {"name": number.name, "group": number.group, "about": number.about}
        yield {**about, "kind": "number", "whole": number.whole, "values": block.put(number.values)}
    for choice in sampled.choices:
        about = {"name": choice.name, "group": choice.group, "about": choice.about}
        named = [plain(value, NAME_SHOWN) for value in choice.values]
        yield {**about, "kind": choice.kind, "names": named, "values": block.put(choice.codes)}


def _flow(value: Any) -> str:
    """A condition's value as YAML on one line: JSON is YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_flow(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False)


@cache
def _file(name: str) -> str:
    return files("eval.explorer").joinpath("page", name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("eval.explorer", "page"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("explorer.html")
