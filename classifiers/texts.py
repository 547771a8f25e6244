"""The scores of a list of texts by a trained model: what `classifiers.score` is, without a job or an experiment file."""

import json
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from classifiers.kinds import options
from filters.texts import Texts, measured

KIND = "kind.json"
"""Beside a trained model: its kind and options, as they stood in the experiment file."""


def score(texts: Texts, folder: str | Path) -> pa.Table:
    """One row a text, one column a signal of the model in a folder such as out/demo/models/quality, called as the folder is.

    Null where the text has nothing to score. Raises ValueError where the folder holds no trained model.
    """
    folder = Path(folder)
    try:
        [(kind, given)] = json.loads((folder / KIND).read_text(encoding="utf-8")).items()
        asked = options(kind).model_validate(given)
    except FileNotFoundError:
        raise ValueError(f"{folder} has no {KIND}: name the folder of a model that jobs.train_classifier has made") from None
    except ValidationError as error:
        raise ValueError(f"{folder / KIND} cannot be used: {error.errors()[0]['msg']}") from error
    return measured(texts, [asked.group(folder.name, folder)])
