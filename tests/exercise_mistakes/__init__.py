"""Typical wrong answers to every exercise, each with words that its hint alone holds.

A module per notebook; `MISTAKES` maps an exercise's id to pairs of an answer and those words. An
answer to an exercise that asks for two functions is a tuple of two.
"""

from exercise_mistakes import step_01, step_02, step_03, step_04, step_05, step_06, step_07

MISTAKES = {
    name: rows
    for module in (step_01, step_02, step_03, step_04, step_05, step_06, step_07)
    for name, rows in module.MISTAKES.items()
}
