"""The figures: each one draws on a canvas without a screen and says what it shows."""

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from rag_helpers import plots
from rag_helpers.errors import InvalidInputError
from rag_helpers.plots import (
    MARKERS,
    PALETTE,
    plot_attribution,
    plot_intervals,
    plot_lengths,
    plot_map,
    plot_prompt_budget,
    plot_scores_by_rank,
    plot_settings,
    plot_stages,
    plot_token_lengths,
    plot_tradeoff,
    plot_training,
    project,
)
from rag_helpers.records import Chunk, Hit, Prompt


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def hits(*scores):
    chunk = Chunk("text", "s", 0, 4)
    return [Hit(chunk, score, rank) for rank, score in enumerate(scores, start=1)]


VECTORS = np.eye(6, 8, dtype=np.float32)
STAGES = {"retrieve": 20.0, "prompt": 2.0, "generate": 900.0, "cite": 40.0, "total": 962.0}
PROMPT = Prompt("q", "text", tokens=300, dropped=tuple(hits(0.1, 0.2)))

# Every figure, and what its axes have to say: what is drawn, in which unit, and how many.
FIGURES = {
    "token_lengths": (
        lambda axes: plot_token_lengths([100, 200, 300], 256, axes=axes),
        ["tokens in a chunk", "chunks", "read whole (n = 2)", "cut short (n = 1)", "limit 256"],
    ),
    "lengths": (
        lambda axes: plot_lengths({"a": 3, "b": 2, "c": 1}, xlabel="words", most=2, axes=axes),
        ["words (n = 3; 6 words in all)", "a", "b", "others (1)"],
    ),
    "map": (
        lambda axes: plot_map(VECTORS, VECTORS[0], [0, 1], right=[1], axes=axes),
        [
            "first principal component",
            "second principal component",
            "chunks (n = 6)",
            "top 2",
            "question",
            "holds the answer",
        ],
    ),
    "scores_by_rank": (
        lambda axes: plot_scores_by_rank({"tea?": hits(0.9, 0.5)}, axes=axes),
        ["rank of the hit", "score", "tea? (n = 2)"],
    ),
    "prompt_budget": (
        lambda axes: plot_prompt_budget(PROMPT, [100, 150], 512, axes=axes),
        ["tokens (n = 300; 2 passages dropped)", "budget 512", "passage 1", "passage 2"],
    ),
    "stages": (
        lambda axes: plot_stages([STAGES, STAGES], axes=axes),
        ["milliseconds (median of n = 2; whiskers: min to max)", "retrieve", "generate", "900 ms"],
    ),
    "settings": (
        lambda axes: plot_settings(
            [50, 100],
            {"dense": [(0.5, 0.4, 0.6), (0.7, 0.6, 0.8)]},
            xlabel="words in a chunk",
            ylabel="recall@5",
            n=40,
            axes=axes,
        ),
        ["words in a chunk", "recall@5 (n = 40, 95 % interval)", "dense"],
    ),
    "intervals": (
        lambda axes: plot_intervals({"ours": (0.5, 0.4, 0.6)}, xlabel="F1", n=40, axes=axes),
        ["F1 (n = 40, 95 % interval)", "ours"],
    ),
    "attribution": (
        lambda axes: plot_attribution({"missed": 2, "right": 3}, axes=axes),
        ["questions (n = 5)", "missed (2)", "right (3)"],
    ),
    "training": (
        lambda axes: plot_training([0, 10], {"dev": [2.0, 1.0]}, ylabel="loss (nats)", axes=axes),
        ["training step (n = 2 points a curve)", "loss (nats)", "dev"],
    ),
    "tradeoff": (
        lambda axes: plot_tradeoff(
            {"fp32": (600.0, 1.0)}, xlabel="ms a question", ylabel="equal (n = 24)", axes=axes
        ),
        ["ms a question", "equal (n = 24)", "fp32"],
    ),
}
every_figure = pytest.mark.parametrize("name", FIGURES)


def words_on(axes):
    """Return every text in the figure."""
    return [text.get_text() for text in axes.findobj(mpl.text.Text)]


def fits(axes):
    """Draw, and say whether all of it, labels and legend included, lies on the figure."""
    axes.figure.canvas.draw()
    # One pixel of grace, since the layout places to fractions of one.
    page, drawn = axes.figure.bbox.padded(1), axes.get_tightbbox()
    return (
        page.x0 <= drawn.x0 and drawn.x1 <= page.x1 and page.y0 <= drawn.y0 and drawn.y1 <= page.y1
    )


def test_every_public_figure_is_tested():
    assert {f"plot_{name}" for name in FIGURES} == {
        name for name in plots.__all__ if name.startswith("plot_")
    }


@every_figure
def test_figure_names_its_axes_units_and_n_and_is_readable_on_a_dark_page(name):
    draw, expected = FIGURES[name]
    axes = draw(None)
    assert fits(axes)
    assert set(expected) - set(words_on(axes)) == set()
    picture = np.asarray(axes.figure.canvas.buffer_rgba())
    # The corner is opaque white, and something dark stands on it.
    assert picture[0, 0].tolist() == [255, 255, 255, 255]
    assert picture[..., :3].min() < 80


@every_figure
def test_figure_draws_into_the_axes_it_is_given(name):
    _, axes = plt.subplots()
    assert FIGURES[name][0](axes) is axes
    assert plt.get_fignums() == [axes.figure.number]


def test_long_names_fit_too():
    question = "What does the z option do in a format spec, and why?"
    shown = plot_scores_by_rank({f"{question[:34]}… {n}": hits(0.9, 0.5) for n in range(4)})
    budget = plot_prompt_budget(PROMPT, [30] * 8, 512)
    for axes in (shown, budget):
        assert fits(axes)
        assert axes.bbox.height > 40, "the legend must leave room for what it explains"


# What the figures show -----------------------------------------------------------------------


def test_a_chunk_of_exactly_the_limit_is_read_whole():
    words = words_on(plot_token_lengths([256], 256))
    assert "read whole (n = 1)" in words and "cut short (n = 0)" in words


def test_lengths_are_ordered_and_nothing_is_left_out():
    axes = plot_lengths({"small": 1, "big": 9, "mid": 4, "tiny": 1}, xlabel="words", most=2)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["big", "mid", "others (2)"]
    assert [bar.get_width() for bar in axes.patches] == [9, 4, 2]  # 1 + 1 words in the rest


def test_few_lengths_need_no_others():
    axes = plot_lengths({"a": 1, "b": 2}, xlabel="words")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a"]


def test_projection_keeps_what_lies_in_a_plane():
    # Points in a plane of the space keep all their distances.
    flat = np.array([[0, 0, 0], [3, 0, 0], [0, 4, 0], [1, 1, 0]], dtype=np.float32)
    (points,) = project(flat)
    assert np.linalg.norm(points[1] - points[2]) == pytest.approx(5, abs=1e-5)
    assert np.linalg.norm(points[0] - points[1]) == pytest.approx(3, abs=1e-5)


def test_projection_puts_all_groups_on_the_same_plane():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 5)).astype(np.float32)
    points, again = project(vectors, vectors[3:5])
    assert np.allclose(points[3:5], again)


def test_map_puts_the_star_where_the_questions_vector_lies():
    axes = plot_map(VECTORS, VECTORS[2], [2])
    found, star = axes.collections[1], axes.collections[-1]
    assert np.allclose(found.get_offsets(), star.get_offsets())


def test_prompt_bar_is_as_long_as_the_prompt():
    axes = plot_prompt_budget(PROMPT, [100, 150], 512)
    assert [bar.get_width() for bar in axes.patches] == [50, 100, 150]  # 300 − 250 = 50
    assert max(bar.get_x() + bar.get_width() for bar in axes.patches) == 300


def test_stages_show_the_median_and_reach_from_minimum_to_maximum():
    runs = [{"only": value} for value in (10.0, 20.0, 90.0)]
    axes = plot_stages(runs, stages=["only"])
    assert axes.patches[0].get_width() == 20
    (whisker,) = axes.collections[0].get_segments()
    assert whisker[:, 0].tolist() == [10, 90]


def test_settings_do_not_hide_one_interval_behind_another():
    same = [(0.5, 0.4, 0.6), (0.7, 0.6, 0.8)]
    axes = plot_settings([50, 100], {"a": same, "b": same}, xlabel="x", ylabel="y", n=1)
    one, two = (container[0].get_xdata() for container in axes.containers)
    assert not set(one) & set(two)
    assert axes.get_xticks().tolist() == [50, 100]


def test_intervals_are_drawn_from_low_to_high():
    axes = plot_intervals({"a": (0.5, 0.4, 0.9)}, xlabel="x", n=1)
    (line,) = axes.collections[0].get_segments()
    assert line[:, 0].tolist() == pytest.approx([0.4, 0.9])


def test_a_rounding_error_is_no_interval_upside_down():
    plot_intervals({"a": (0.1 + 0.2, 0.3, 0.3)}, xlabel="x", n=1)  # 0.1 + 0.2 > 0.3


def test_attribution_starts_each_bar_where_the_last_one_ended():
    axes = plot_attribution({"missed": 2, "dropped": 1, "right": 3})
    # Drawn in pairs: what the stage lost, then what is left.
    ends = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches]
    assert ends[0::2] == [(4, 6), (3, 4), (0, 3)]
    assert ends[1::2] == [(0, 4), (0, 3), (0, 0)]


def test_more_curves_than_colours_still_look_different():
    curves = {f"run {i}": [float(i)] for i in range(2 * len(PALETTE))}
    axes = plot_training([0], curves)
    looks = {(line.get_color(), line.get_marker()) for line in axes.get_lines()}
    assert len(looks) == len(curves)
    assert len(MARKERS) == len(PALETTE)


def test_a_curve_of_many_steps_is_not_buried_under_markers():
    axes = plot_training(list(range(1000)), {"run": [1.0] * 1000})
    assert axes.get_lines()[0].get_markevery() == 50


# What cannot be drawn ------------------------------------------------------------------------

SETTINGS = {"xlabel": "x", "ylabel": "y", "n": 1}
REFUSED = {
    "no chunks": (lambda: plot_token_lengths([], 256), "0 token counts"),
    "no lengths": (lambda: plot_lengths({}, xlabel="words"), "0 lengths"),
    "no bar": (lambda: plot_lengths({"a": 1}, xlabel="words", most=0), "most is 0"),
    "no vectors": (lambda: plot_map(np.empty((0, 3)), np.zeros(3), []), "0 vectors"),
    "no such chunk": (lambda: plot_map(VECTORS, VECTORS[0], [6]), "6 chunks and none has number 6"),
    "no hits": (lambda: plot_scores_by_rank({"q": []}), "0 hits"),
    "no number": (lambda: plot_scores_by_rank({"q": hits(float("nan"))}), "1 of the hits"),
    "no timings": (lambda: plot_stages([]), "0 timings"),
    "no such stage": (lambda: plot_stages([STAGES], stages=["boil"]), "boil"),
    "no settings": (lambda: plot_settings([], {}, **SETTINGS), "0 settings"),
    "too few points": (
        lambda: plot_settings([1, 2], {"a": [(1, 1, 1)]}, **SETTINGS),
        "'a' has 1 values for 2 places",
    ),
    "no triples": (lambda: plot_settings([1], {"a": [(1, 1)]}, **SETTINGS), r"shape \(1, 2\)"),
    "ragged": (lambda: plot_settings([1, 2], {"a": [(1, 1), (1,)]}, **SETTINGS), "no table"),
    "no rows": (lambda: plot_intervals({}, xlabel="x", n=1), "0 intervals"),
    "upside down": (
        lambda: plot_intervals({"a": (0.5, 0.6, 0.4)}, xlabel="x", n=1),
        r"1 values outside \(low, high\)",
    ),
    "no counts": (lambda: plot_attribution({}), "0 counts"),
    "no steps": (lambda: plot_training([], {}), "0 steps"),
    "short curve": (lambda: plot_training([1, 2], {"a": [1.0]}), "'a' has 1 values for 2 places"),
    "no variants": (lambda: plot_tradeoff({}, xlabel="x", ylabel="y"), "0 variants"),
    "not measured": (
        lambda: plot_tradeoff({"a": (1.0, float("inf"))}, xlabel="x", ylabel="y"),
        "1 of the variants are not finite",
    ),
}


def test_a_variant_with_several_settings_is_a_line_of_points():
    points = {"one": (1.0, 0.5), "several": [(1.0, 0.2), (2.0, 0.4), (3.0, 0.9)]}
    axes = plot_tradeoff(points, xlabel="x", ylabel="y")
    assert [len(dots.get_offsets()) for dots in axes.collections] == [1, 3]
    assert axes.lines[1].get_ydata().tolist() == [0.2, 0.4, 0.9]
    assert axes.lines[1].get_color() != axes.lines[0].get_color()


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_drawn_is_refused_before_a_figure_is_made(case):
    draw, message = REFUSED[case]
    with pytest.raises(InvalidInputError, match=message):
        draw()
    assert plt.get_fignums() == []
