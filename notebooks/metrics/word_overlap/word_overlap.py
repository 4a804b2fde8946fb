"""A metric in the form that `evaluate` loads from a folder, without its hub."""

import datasets
import evaluate

from rag_helpers.evaluation import exact_match, token_f1


class WordOverlap(evaluate.Metric):
    """Exact match and token F1 under SQuAD's normalization."""

    def _info(self):
        return evaluate.MetricInfo(
            description="Exact match and token F1, as in SQuAD (Rajpurkar et al., 2016).",
            citation="",
            inputs_description="predictions: texts; references: texts.",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
        )

    def _compute(self, predictions, references):
        pairs = list(zip(predictions, references, strict=True))
        return {
            "exact_match": sum(exact_match(p, [r]) for p, r in pairs) / len(pairs),
            "f1": sum(token_f1(p, [r]) for p, r in pairs) / len(pairs),
        }
