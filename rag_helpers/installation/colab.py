"""The environment that stands for Google Colab, and the one of the oldest versions.

Both are made beside ``.venv``, from the pins in ``tests/environments``. The module does not know
what is tested in them.
"""

from __future__ import annotations

from pathlib import Path

from rag_helpers.installation.venv import Installation, InstallationError, say

__all__ = ["make_other_environment"]

_FOLDERS = {"colab": ".venv-colab", "oldest": ".venv-oldest"}


def make_other_environment(root: Path, kind: str) -> Installation:
    """Make an environment with other versions of the libraries, or repair it.

    Parameters
    ----------
    root : Path
        The repository.
    kind : {"colab", "oldest"}
        What Colab ships, completed as the notebooks' first cell does it; or the lower bounds in
        ``pyproject.toml``.

    Returns
    -------
    Installation
        With the test tools.

    Raises
    ------
    InstallationError
        If `kind` is neither, or pip could not do its part.

    Examples
    --------
    >>> make_other_environment(Path("."), "newest")
    Traceback (most recent call last):
    rag_helpers.installation.venv.InstallationError: ...
    """
    if kind not in _FOLDERS:
        raise InstallationError(f"The environment is {kind!r}; choose colab or oldest.")
    made = Installation(root, _FOLDERS[kind], f"tests/environments/{kind}.txt")
    made.install(dev=False)
    if kind == "colab":
        # Before the test tools bring along anything that the cell would have had to install.
        say("Installing what Colab lacks, as the notebooks' first cell does …")
        if made.run(["rag_helpers.publishing.on_colab"]) != 0:
            raise InstallationError(
                "What Colab lacks could not be installed; the lines above say why. Once that is "
                "mended, the same command goes on where it stopped."
            )
    made.install(dev=True)
    return made
