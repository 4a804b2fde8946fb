"""The widget that chooses an index: three sliders, one recommendation and its reasons.

The module does not know how an index is recommended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

import ipywidgets as ipw

from rag_helpers.optimization import IndexRecommendation
from rag_helpers.widgets.boxes import _LABEL, _Box

__all__ = ["IndexChooser"]

_COUNTS = (1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
_MEGABYTES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)
_ANY = float("inf")  # None would mean that nothing is chosen
_RECALLS = (0.5, 0.8, 0.9, 0.95, 0.99, 1.0)


class IndexChooser(_Box):
    """Turn the number of vectors, the memory and the recall, and read which index to take.

    Parameters
    ----------
    recommend : callable
        ``recommend(count, memory_mb=…, recall=…)`` returns an `IndexRecommendation`, as
        `recommend_index` does; without limit `memory_mb` is None.
    """

    def __init__(self, recommend: Callable[..., IndexRecommendation]) -> None:
        self._recommend = recommend
        self.recommendation: IndexRecommendation | None = None
        self.count = _steps("Vectors", [(f"{n:,}", n) for n in _COUNTS], 100_000)
        memory = [*((f"{size:,} MB", size) for size in _MEGABYTES), ("any", _ANY)]
        self.memory = _steps("Memory", memory, _ANY)
        self.recall = _steps("Recall", [(str(share), share) for share in _RECALLS], 0.95)
        sliders = [self.count, self.memory, self.recall]
        super().__init__([ipw.HBox(sliders, layout={"flex_flow": "row wrap"})], sliders)
        for slider in sliders:
            slider.observe(lambda _: self.run(), names="value")
        self.run()

    def _work(self) -> str:
        self.recommendation, self.output.value = None, ""
        memory_mb = None if self.memory.value == _ANY else self.memory.value
        found = self._recommend(self.count.value, memory_mb=memory_mb, recall=self.recall.value)
        self.recommendation = found
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in found.reasons)
        setting = ", ".join(f"{name} {value}" for name, value in found.parameters.items())
        self.output.value = (
            f"<p style='font-size:1.15em'><b>{escape(found.kind)}</b> {escape(setting)}</p>"
            f"<ol style='line-height:1.4'>{reasons}</ol>"
        )
        return f"About {found.memory_mb:,.1f} MB, recall {found.recall.value:.3f}."


def _steps(label: str, options: Sequence[tuple[str, object]], value: object) -> ipw.SelectionSlider:
    return ipw.SelectionSlider(
        options=options, value=value, description=label, continuous_update=False, style=_LABEL
    )
