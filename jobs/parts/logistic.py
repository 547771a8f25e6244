"""Spark's logistic regression on a file of vectors: the one thing that a hashing-TF classifier needs Spark for."""

from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import DataFrame

from classifiers import hashing_tf
from jobs.parts.experiment_file import Experiment
from jobs.parts.sample import training_texts
from jobs.parts.session import session


def fit_hashing_tf(experiment: Experiment, name: str, folder: Path) -> str:
    """Train a classifier of this kind; a line about it for the terminal."""
    options = experiment.classifiers[name].options
    if not isinstance(options, hashing_tf.Options):
        raise TypeError(f"{name} is no hashing_tf classifier")
    return options.learn(training_texts(experiment, name), folder, fit)


def fit(vectors: Path, regularization: float) -> hashing_tf.Fitted:
    """The model of these vectors: the squares of the weights are held down, all else is Spark's default.

    Gradients of 200,000 pages take one core about a second.
    """
    from pyspark.ml.classification import LogisticRegression  # with it comes pandas: .8 s that no other verb should wait

    rows = in_order(vectors, ["label", "features"])
    model = LogisticRegression(regParam=regularization, elasticNetParam=0.0, family="binomial").fit(rows)
    return hashing_tf.Fitted(model.coefficients.toArray(), float(model.intercept))


def in_order(vectors: Path, columns: Sequence[str]) -> DataFrame:
    """Columns of a file with vectors, all rows in one partition in the order of `place`.

    The sums of several partitions would be added up as their tasks end, and what is left of floating point then differs
    between two fits.
    """
    from pyspark.ml.linalg import VectorUDT
    from pyspark.sql.types import DoubleType, LongType, StructField, StructType

    types = {"place": LongType(), "label": DoubleType(), "features": VectorUDT()}
    schema = StructType([StructField(name, types[name]) for name in ("place", *columns)])
    rows = session("train_classifier").read.schema(schema).parquet(vectors.resolve().as_uri())
    return rows.coalesce(1).sortWithinPartitions("place").select(*columns)
