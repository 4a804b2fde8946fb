"""What runs in the environment: JupyterLab, the linters, the tests.

The module does not know how the environment was made, or what is tested.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rag_helpers.installation.venv import Installation, InstallationError, say

__all__ = ["Stage", "clean", "open_lab", "run_stages", "stages"]

# What `clean` deletes: all of it is made again on demand.
LEFTOVERS = (
    "build",
    "dist",
    "*.egg-info",
    ".coverage",
    "coverage.xml",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    ".jupyter",
    "notebooks/executed",
    "**/.ipynb_checkpoints",
    "**/__pycache__",
)
# What leaves the check of every save within a minute.
FAST = "not models and not seconds and not notebooks and not browser and not slow"
# Collecting these alone takes seconds, since they import nearly everything.
NOT_FAST = tuple(
    f"--ignore=tests/{name}" for name in ("browser", "slow", "test_notebook_builder.py")
)
WIDGET_TESTS = tuple(
    f"tests/test_{name}.py" for name in ("widgets", "widgets_choices", "widgets_rating", "plots")
)
# A browser, a cluster and a bare machine now and then fail for reasons of their own: what fails is
# run once more. At the end stands a line for each failure, error, skipped and repeated test.
AGAIN = ("--reruns", "1", "--reruns-delay", "5", "-rfEsR")
# Two processes on two cores: much of what is tested runs on one of them, or waits for imports.
# Tests are shared out file by file, one by one where each takes long, or by groups in the order of
# tests/conftest.py: whatever starts Ray is one group, for two clusters meet on one machine.
BY_FILE = ("-n", "2", "--dist", "loadfile")
BY_TEST = ("-n", "2", "--dist", "worksteal")
BY_GROUP = ("-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder")
NO_TESTS_COLLECTED = 5  # pytest's exit code when no test was selected


@dataclass(frozen=True)
class Stage:
    """One program among those that a check runs in turn.

    Parameters
    ----------
    name : str
        What the report calls it.
    arguments : tuple of str
        Module and arguments, as they follow ``python -m``.
    may_be_empty : bool
        Whether finding no test at all counts as passing.

    Examples
    --------
    >>> Stage("types", ("mypy",)).arguments
    ('mypy',)
    """

    name: str
    arguments: tuple[str, ...]
    may_be_empty: bool = False


def stages(kind: str) -> tuple[Stage, ...]:
    """Return what a check consists of.

    Parameters
    ----------
    kind : {"check-code", "test", "test-slow", "test-colab"}
        The fast check for every save, all that runs before a commit, the
        tests that take minutes, or what must hold on other versions of the
        libraries: the notebooks and the widgets.

    Returns
    -------
    tuple of Stage
        In the order in which they run.

    Raises
    ------
    InstallationError
        If `kind` is none of these.

    Examples
    --------
    >>> [stage.name for stage in stages("check-code")]
    ['lint', 'format', 'types', 'fast tests', 'notebooks in step']
    """

    def tests(name: str, marked: str, *more: str, may_be_empty: bool = False) -> Stage:
        return Stage(name, ("pytest", "-m", marked, *more, "tests"), may_be_empty)

    code = (
        Stage("lint", ("ruff", "check", ".")),
        Stage("format", ("ruff", "format", "--check", ".")),
        Stage("types", ("mypy",)),
    )
    ordinary = "not notebooks and not browser and not slow"
    in_step = Stage("notebooks in step", ("rag_helpers.notebook_builder", "--check"))
    measured = ("--doctest-modules", "--cov", "--cov-report=term:skip-covered", "rag_helpers")
    known = {
        "check-code": (
            *code,
            tests("fast tests", FAST, *BY_FILE, *NOT_FAST),
            in_step,
        ),
        "test": (
            *code,
            tests("tests and examples", ordinary, *BY_FILE, *measured),
            in_step,
            tests("notebooks", "notebooks and not slow", *BY_TEST, may_be_empty=True),
            tests("browser", "browser and not slow", *BY_TEST, *AGAIN, may_be_empty=True),
        ),
        "test-slow": (tests("slow tests", "slow", *BY_GROUP, *AGAIN, may_be_empty=True),),
        "test-colab": (
            Stage("widgets", ("pytest", "-m", "not slow", *WIDGET_TESTS)),
            Stage("notebooks", ("pytest", "-m", "notebooks", *BY_TEST, "tests/test_notebooks.py")),
        ),
    }
    if kind not in known:
        raise InstallationError(f"No check is called {kind!r}; there are {', '.join(known)}.")
    return known[kind]


def run_stages(installation: Installation, chosen: Sequence[Stage]) -> int:
    """Run all stages, also after a failure, and report on each.

    Parameters
    ----------
    installation : Installation
        Where to run them.
    chosen : sequence of Stage
        What to run.

    Returns
    -------
    int
        0 when every stage passed, else 1.
    """
    report = []
    for stage in chosen:
        say(f"{stage.name}: {' '.join(stage.arguments)}")
        began = time.perf_counter()
        code = installation.run(stage.arguments)
        seconds = time.perf_counter() - began
        if code == NO_TESTS_COLLECTED and stage.may_be_empty:
            report.append(("NONE", stage.name, seconds))
        else:
            report.append(("FAIL" if code else "OK", stage.name, seconds))
    for result, name, seconds in report:
        say(f"{result:<5}{name:<20}{seconds:7.1f} s")
    return int(any(result == "FAIL" for result, _, _ in report))


def open_lab(installation: Installation, *, browser: bool = True, port: int | None = None) -> int:
    """Start JupyterLab on the notebooks, for this machine alone.

    Parameters
    ----------
    installation : Installation
        Where the notebooks and JupyterLab are.
    browser : bool
        Whether to open it in the browser.
    port : int, optional
        Port on 127.0.0.1; by default the first free one from 8888.

    Returns
    -------
    int
        JupyterLab's exit code, where it can be waited for.
    """
    overrides = Path(installation.variables()["JUPYTER_CONFIG_DIR"], "labconfig")
    overrides.mkdir(parents=True, exist_ok=True)
    quiet = {"fetchNews": "false", "checkForUpdates": False}
    (overrides / "default_setting_overrides.json").write_text(
        json.dumps({"@jupyterlab/apputils-extension:notification": quiet}), encoding="utf-8"
    )
    options = [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={installation.root / 'notebooks'}",
        # Else it looks for language servers with npm, which writes into the home folder.
        "--LanguageServerManager.autodetect=False",
    ]
    if port is not None:
        options += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if not browser:
        options.append("--no-browser")
    # Containers run as root, which JupyterLab refuses unless told that it is meant.
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")
    return installation.become(["jupyterlab", *options])


def clean(installation: Installation, *, everything: bool = False) -> list[Path]:
    """Delete what can be made again.

    Parameters
    ----------
    installation : Installation
        The repository to clean.
    everything : bool
        Whether the environments go too.

    Returns
    -------
    list of Path
        What was deleted.

    Raises
    ------
    InstallationError
        If the environment is to go but runs this very command.
    """
    if everything and installation.is_current:
        raise InstallationError(
            f"{installation.venv} cannot delete itself; run: python3 -m rag_helpers clean --all"
        )
    doomed = [
        path
        for pattern in LEFTOVERS
        for path in installation.root.glob(pattern)
        if not any(part.startswith(".venv") for part in path.relative_to(installation.root).parts)
    ]
    if everything:
        doomed += installation.root.glob(".venv*")
    for path in doomed:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return doomed
