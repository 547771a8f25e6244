"""Spark's k-means on a file of vectors: the one thing that topics need Spark for."""

from pathlib import Path

import numpy as np

from classifiers import topic
from classifiers.kinds import Floats
from jobs.parts.experiment_file import Experiment
from jobs.parts.logistic import in_order
from jobs.parts.sample import training_texts


def fit_topic(experiment: Experiment, name: str, folder: Path) -> str:
    """Find the clusters of a classifier of this kind; a line about it for the terminal."""
    options = experiment.classifiers[name].options
    if not isinstance(options, topic.Options):
        raise TypeError(f"{name} is no topic classifier")
    return options.learn(training_texts(experiment, name), folder, fit)


def fit(vectors: Path, clusters: int, seed: int) -> Floats:
    """The centres by cosine, all else Spark's default: k-means|| to begin with, 20 rounds; shape (clusters found, size)."""
    from pyspark.ml.clustering import KMeans  # with it comes pandas: .8 s that no other verb should wait

    rows = in_order(vectors, ["features"]).cache()
    try:
        model = KMeans(k=clusters, seed=seed, distanceMeasure="cosine").fit(rows)
    finally:
        rows.unpersist()
    return np.array(model.clusterCenters(), np.float64)
