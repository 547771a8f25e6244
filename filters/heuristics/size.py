"""How large a page is, and a fingerprint of its text: what every choice needs, whatever the rules."""

import numpy as np
import pyarrow.compute as pc
import xxhash

from filters.pages import PageBatch
from filters.signals import Count, signal


@signal(group="size")
def text_bytes(pages: PageBatch) -> Count:
    """UTF-8 bytes of the text."""
    return np.diff(pages.offsets)


@signal(group="size")
def text_characters(pages: PageBatch) -> Count:
    """Code points of the text."""
    characters: Count = pc.utf8_length(pages.text)
    return characters


@signal(group="size")
def text_hash(pages: PageBatch) -> Count:
    """XXH3 (64 bit, as a signed integer) of the text's UTF-8 bytes: equal for exact copies."""
    data, offsets = pages.data.data, pages.offsets
    hashes = [xxhash.xxh3_64_intdigest(data[offsets[page] : offsets[page + 1]]) for page in range(len(pages))]
    return np.array(hashes, np.uint64).view(np.int64)
