"""Exercises that check themselves: hidden cases, hints, and what a learner has done.

``check_2_1(answer)`` runs exercise 2.1's hidden cases against what a learner
wrote, returns a `Verdict` and records the try on this machine. The tasks and
their solutions are in ``notebooks/source/NN_*_solutions.py``; the package holds
the checks alone, so reading it gives no solution away.
"""

from rag_helpers.exercises.checking import EXERCISES, Exercise, Hint, Verdict
from rag_helpers.exercises.dashboard import ProgressBoard, progress_text
from rag_helpers.exercises.progress import load_progress
from rag_helpers.exercises.step_01 import check_1_1, check_1_2, check_1_3, check_1_4
from rag_helpers.exercises.step_02 import check_2_1, check_2_2, check_2_3, check_2_4
from rag_helpers.exercises.step_03 import check_3_1, check_3_2, check_3_3, check_3_4
from rag_helpers.exercises.step_04 import check_4_1, check_4_2, check_4_3, check_4_4
from rag_helpers.exercises.step_05 import check_5_1, check_5_2, check_5_3, check_5_4
from rag_helpers.exercises.step_06 import check_6_1, check_6_2, check_6_3, check_6_4
from rag_helpers.exercises.step_07 import check_7_1, check_7_2, check_7_3, check_7_4

__all__ = [
    "EXERCISES",
    "Exercise",
    "Hint",
    "ProgressBoard",
    "Verdict",
    "check_1_1",
    "check_1_2",
    "check_1_3",
    "check_1_4",
    "check_2_1",
    "check_2_2",
    "check_2_3",
    "check_2_4",
    "check_3_1",
    "check_3_2",
    "check_3_3",
    "check_3_4",
    "check_4_1",
    "check_4_2",
    "check_4_3",
    "check_4_4",
    "check_5_1",
    "check_5_2",
    "check_5_3",
    "check_5_4",
    "check_6_1",
    "check_6_2",
    "check_6_3",
    "check_6_4",
    "check_7_1",
    "check_7_2",
    "check_7_3",
    "check_7_4",
    "load_progress",
    "progress_text",
]
