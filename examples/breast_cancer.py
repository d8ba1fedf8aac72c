"""Pick the best of several classifiers on the Wisconsin breast-cancer table that ships inside scikit-learn.

    split ──┬─> train(logistic regression) ──┐
            ├─> train(random forest) ────────┼─> compare ─> write_report
            ├─> train(gradient boosting) ────┤
            └─> train(nearest neighbours) ───┘

Plain flytekit: nothing in here knows about flyte-kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from flytekit import current_context, task, workflow
from flytekit.types.file import FlyteFile
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


class Split(NamedTuple):
    """Rows to learn from and rows to judge by."""

    train: pd.DataFrame
    test: pd.DataFrame


@dataclass
class Score:
    """How well a model does."""

    name: str
    accuracy: float
    roc_auc: float


class Fitted(NamedTuple):
    """A fitted model and how well it does on the rows it has not seen."""

    model: ClassifierMixin
    score: Score


class Report(NamedTuple):
    """What people look at in the end."""

    report: FlyteFile
    table: pd.DataFrame
    best: str


def _classifier(name: str, seed: int) -> ClassifierMixin:
    return {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "random forest": RandomForestClassifier(n_estimators=100, random_state=seed),
        "gradient boosting": GradientBoostingClassifier(random_state=seed),
        "nearest neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier()),
    }[name]


@task
def split(test_share: float, seed: int) -> Split:
    """Load the table and set a share of its rows aside."""
    table = load_breast_cancer(as_frame=True).frame
    train, test = train_test_split(table, test_size=test_share, random_state=seed, stratify=table["target"])
    return Split(train.reset_index(drop=True), test.reset_index(drop=True))


@task(retries=2)
def train(name: str, train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Fitted:
    """Fit one model and score it on the rows set aside."""
    model = _classifier(name, seed)
    model.fit(train.drop(columns="target"), train["target"])
    features, truth = test.drop(columns="target"), test["target"]
    score = Score(
        name=name,
        accuracy=float(accuracy_score(truth, model.predict(features))),
        roc_auc=float(roc_auc_score(truth, model.predict_proba(features)[:, 1])),
    )
    print(f"{name}: accuracy {score.accuracy:.3f}, area under the curve {score.roc_auc:.4f}")
    return Fitted(model, score)


@task
def compare(scores: list[Score]) -> pd.DataFrame:
    """Order the models by what they score."""
    table = pd.DataFrame([{"model": s.name, "accuracy": s.accuracy, "roc_auc": s.roc_auc} for s in scores])
    return table.sort_values(["roc_auc", "accuracy"], ascending=False, ignore_index=True)


@task
def write_report(table: pd.DataFrame) -> Report:
    """Write the comparison down for people."""
    path = Path(current_context().working_directory) / "report.md"
    rows = [f"| {row.model} | {row.accuracy:.3f} | {row.roc_auc:.4f} |" for row in table.itertuples()]
    lines = ["# Breast cancer: models compared", "", "| model | accuracy | roc auc |", "|---|---|---|", *rows, ""]
    path.write_text("\n".join(lines))
    return Report(FlyteFile(str(path)), table, str(table["model"].iloc[0]))


@workflow
def pick_model(test_share: float = 0.25, seed: int = 7) -> Report:
    """Split, train side by side, compare, report."""
    rows = split(test_share=test_share, seed=seed)
    names = ("logistic regression", "random forest", "gradient boosting", "nearest neighbours")
    fitted = [train(name=name, train=rows.train, test=rows.test, seed=seed) for name in names]
    table = compare(scores=[one.score for one in fitted])
    return write_report(table=table)
