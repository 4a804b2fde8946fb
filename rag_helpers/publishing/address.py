"""Where the repository is published: one setting in ``pyproject.toml``.

::

    [tool.rag-helpers]
    repository = "https://github.com/OWNER/NAME"
    ref = "v0.1.0"

Both are empty until there is such a place. The module does not know what is made of them.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from rag_helpers.errors import InvalidInputError

__all__ = ["Address", "read_address"]

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
_REPOSITORY = re.compile(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?", re.ASCII)
_REF = re.compile(r"[\w][\w./-]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Address:
    """A public repository and the state of it that is taught.

    Parameters
    ----------
    owner_and_name : str
        Such as ``"owner/name"`` on GitHub; empty while it is not published.
    ref : str
        A tag or a commit; a branch moves under those who use it.

    Examples
    --------
    >>> bool(Address("", ""))
    False
    """

    owner_and_name: str
    ref: str

    def __bool__(self) -> bool:
        return bool(self.owner_and_name)

    @property
    def clone(self) -> str:
        """Address to clone from."""
        return f"https://github.com/{self.owner_and_name}.git"

    def in_colab(self, notebook: str) -> str:
        """Return the address that opens a notebook in Colab, such as ``"01_setup"``."""
        return (
            f"https://colab.research.google.com/github/{self.owner_and_name}/blob/{self.ref}"
            f"/notebooks/{notebook}.ipynb"
        )


def read_address(pyproject: Path = PYPROJECT) -> Address:
    """Read the setting.

    Parameters
    ----------
    pyproject : Path
        The file to read.

    Returns
    -------
    Address
        An empty one while nothing is set.

    Raises
    ------
    InvalidInputError
        If the repository is no address on GitHub, which is where Colab opens notebooks from, or
        the ref is missing or none.

    Examples
    --------
    >>> isinstance(read_address(), Address)
    True
    """
    setting = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("tool", {})
    setting = setting.get("rag-helpers", {})
    repository, ref = str(setting.get("repository", "")), str(setting.get("ref", ""))
    if not repository:
        return Address("", "")
    match = _REPOSITORY.fullmatch(repository)
    if match is None:
        raise InvalidInputError(
            f"repository is {repository!r} in {pyproject.name}; write it as "
            "https://github.com/OWNER/NAME, or leave it empty."
        )
    if not _REF.fullmatch(ref) or ".." in ref:
        raise InvalidInputError(
            f"ref is {ref!r} in {pyproject.name}; name the tag or commit that Colab takes."
        )
    return Address(match[1], ref)
