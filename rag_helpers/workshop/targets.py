"""The systems that a workshop folder can be built for.

The module does not know which packages the course needs.
"""

from __future__ import annotations

import platform
import re
import sys
from dataclasses import dataclass

from rag_helpers.installation import InstallationError

__all__ = ["PLATFORMS", "Target", "this_target"]

PLATFORMS = ("linux", "windows", "macos-arm64")
# Tags that pip accepts, newest first. For Linux it wants every one named; of the others it knows
# which older ones they include.
_PIP_TAGS = {
    "linux": (
        *(f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)),
        "manylinux2014_x86_64",
        "linux_x86_64",
    ),
    "windows": ("win_amd64",),
    "macos-arm64": ("macosx_14_0_arm64",),
}
_UV_NAMES = {
    "linux": "x86_64-manylinux_2_28",
    "windows": "x86_64-pc-windows-msvc",
    "macos-arm64": "aarch64-apple-darwin",
}
_HERE = {
    ("Linux", "x86_64"): "linux",
    ("Windows", "AMD64"): "windows",
    ("Darwin", "arm64"): "macos-arm64",
}


@dataclass(frozen=True, slots=True)
class Target:
    """A system and a Python that wheels are fetched for.

    Parameters
    ----------
    platform : {"linux", "windows", "macos-arm64"}
        Linux and Windows on x86-64; macOS 14 or newer on Apple's own processors.
    python : str
        Such as ``"3.11"``.

    Raises
    ------
    InstallationError
        If the platform is none of these, or the Python is older than 3.11 or no version.

    Examples
    --------
    >>> Target("windows", "3.12").name
    'windows-py3.12'
    """

    platform: str
    python: str

    def __post_init__(self) -> None:
        if self.platform not in PLATFORMS:
            raise InstallationError(
                f"The platform is {self.platform!r}; choose from {', '.join(PLATFORMS)}."
            )
        match = re.fullmatch(r"3\.(\d{1,2})", self.python, re.ASCII)
        if match is None or int(match[1]) < 11:
            raise InstallationError(
                f"The Python is {self.python!r}; name 3.11 or a newer one, such as 3.12."
            )

    @property
    def name(self) -> str:
        """Name of its folder of wheels."""
        return f"{self.platform}-py{self.python}"

    @property
    def pip_options(self) -> list[str]:
        """Options by which pip fetches for this system from any other."""
        tags = [word for tag in _PIP_TAGS[self.platform] for word in ("--platform", tag)]
        fixed = ["--no-deps", "--only-binary=:all:", "--implementation", "cp"]
        return [*fixed, "--python-version", self.python, *tags]

    @property
    def uv_options(self) -> list[str]:
        """Options by which uv resolves for this system from any other."""
        return ["--python-platform", _UV_NAMES[self.platform], "--python-version", self.python]


def this_target(*, platform_name: str = "", python: str = "") -> Target:
    """Return the target that this very machine and Python are, with what was asked instead.

    Parameters
    ----------
    platform_name : str
        Platform to use instead of this machine's; empty for this machine's.
    python : str
        Version to use instead of this Python's.

    Returns
    -------
    Target

    Raises
    ------
    InstallationError
        If this machine is none of the known platforms and none was named.

    Examples
    --------
    >>> this_target(platform_name="linux", python="3.12").name
    'linux-py3.12'
    """
    here = (platform.system(), platform.machine())
    name = platform_name or _HERE.get(here, "")
    if not name:
        raise InstallationError(
            f"This machine is {' '.join(here)}, for which no workshop folder can be built; "
            f"name another with --platform: {', '.join(PLATFORMS)}."
        )
    return Target(name, python or "{}.{}".format(*sys.version_info[:2]))
