"""Installs the course from this folder, without a network.

    python3 install.py                               from a USB stick or a copy of the folder
    python3 install.py --from http://ADDRESS:8000    from the teacher's machine
    python3 install.py --check                       compare every file with its checksum

The course goes into rag-course in your home folder; another place: --to FOLDER. Running it again
is safe: what is there is kept, and what is missing is added. It needs Python and nothing else.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path, PurePosixPath

HERE = Path(__file__).resolve().parent
SUMS = "SHA256SUMS"
NOTE = "workshop.json"
PLATFORMS = {
    ("Linux", "x86_64"): "linux",
    ("Windows", "AMD64"): "windows",
    ("Darwin", "arm64"): "macos-arm64",
}
# Nothing that a folder lists is larger; a server that sends more is not believed.
LARGEST_FILE = 4_000_000_000


class WorkshopError(Exception):
    """What is wrong, in a sentence."""


def say(text):
    """Print a line at once, before the output of what is started next."""
    print(text, flush=True)


def sha256(path):
    """Return the checksum of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def read_sums(folder):
    """Return the checksum of every file that the list names."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        raise WorkshopError(
            f"{folder} has no {SUMS} that can be read; copy the whole folder anew."
        ) from None
    sums = {}
    for line in lines:
        digest, name = line[:64], line[66:]
        path = PurePosixPath(name)
        odd = path.is_absolute() or ".." in path.parts or set(name) & set('\\:*?"<>|')
        if len(digest) != 64 or line[64:66] != "  " or not name or odd:
            raise WorkshopError(
                f"{SUMS} holds {line[:80]!r}, which is no checksum; copy the folder anew."
            )
        sums[name] = digest
    return sums


def verify(folder, names, sums):
    """Compare files with their checksums; the first fault ends the installation."""
    for name in names:
        path = folder / name
        if not path.is_file():
            raise WorkshopError(f"{path} is missing; copy the whole folder anew.")
        if sha256(path) != sums[name]:
            raise WorkshopError(f"{path} is damaged; copy the whole folder anew.")


def choose_wheels(folder):
    """Return the folder of wheels that fits this machine and this Python."""
    note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    system = PLATFORMS.get((platform.system(), platform.machine()), "")
    name = "{}-py{}.{}".format(system, *sys.version_info[:2])
    if name not in note["targets"]:
        raise WorkshopError(
            f"This is Python {platform.python_version()} on {platform.system()} "
            f"{platform.machine()}, and the folder holds wheels for {', '.join(note['targets'])}; "
            "start it with a Python that is among them, or ask for a folder with yours."
        )
    return name


def fetch(address, folder):
    """Fetch from the teacher's machine what this one needs; what is there already is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    address = address.rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise WorkshopError(
            f"{address} is no address; it begins with http://, such as http://10.0.0.5:8000"
        )
    for name in (SUMS, NOTE):
        download(f"{address}/{name}", folder / name)
    sums = read_sums(folder)
    wheels = choose_wheels(folder)
    names = needed(sums, wheels)
    for place, name in enumerate(names, start=1):
        path = folder / name
        if not (path.is_file() and sha256(path) == sums[name]):
            say(f"{place} of {len(names)}: {name}")
            download(f"{address}/{urllib.request.pathname2url(name)}", path)
    return wheels


def download(address, path):
    """Fetch one file; it is there only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    try:
        # fetch() takes http addresses alone.
        opened = urllib.request.urlopen(address, timeout=60)  # noqa: S310
        with opened as answer, draft.open("wb") as file:
            for block in iter(lambda: answer.read(1 << 20), b""):
                file.write(block)
                if file.tell() > LARGEST_FILE:
                    raise WorkshopError(f"{address} is larger than any file of the course.")
    except OSError as error:
        raise WorkshopError(
            f"{address} cannot be fetched ({error}); check the address with the teacher, then run "
            "this again: it goes on where it stopped."
        ) from None
    draft.replace(path)


def needed(sums, wheels):
    """Return the names of what one machine needs."""
    folders = ("course/", "wheels/models/", f"wheels/{wheels}/")
    return [name for name in sums if name.startswith(folders)]


def copy_course(source, target):
    """Copy what is not there; what a participant changed is kept."""
    kept = 0
    for path in sorted(source.rglob("*")):
        if not path.is_file():
            continue
        copy = target / path.relative_to(source)
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            draft = copy.with_name(copy.name + ".new")
            shutil.copyfile(path, draft)
            draft.replace(copy)
        elif copy.read_bytes() != path.read_bytes():
            kept += 1
    if kept:
        say(f"{kept} files in {target} differ from the folder's and are kept as they are.")


def install(folder, wheels, target):
    """Let the course install itself, with pip kept to the folder's wheels."""
    links = [folder / "wheels" / name for name in ("models", wheels)]
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    quiet.pop("TORCH", None)
    quiet.pop("PYTHONPATH", None)
    variables = {
        **quiet,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        # As addresses, in which a space in a folder's name does not end it.
        "PIP_FIND_LINKS": " ".join(link.resolve().as_uri() for link in links),
        "PIP_NO_CACHE_DIR": "1",
        "PIP_QUIET": "1",
    }
    command = [sys.executable, "-m", "rag_helpers", "install"]
    if subprocess.run(command, cwd=target, env=variables).returncode != 0:
        raise WorkshopError(
            "The installation did not end; its last lines say why. Run this again after it."
        )
    inside = Path("Scripts", "python.exe") if os.name == "nt" else Path("bin", "python")
    subprocess.run([str(target / ".venv" / inside), "-m", "rag_helpers", "check"], cwd=target)
    python = Path(".venv", inside.parent, "python")
    say(f"\nTo begin:\n  cd {target}\n  {python} -m rag_helpers lab")


def main(arguments=None):
    """Do what was asked; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, default=Path.home() / "rag-course", metavar="FOLDER")
    parser.add_argument("--from", dest="address", default="", metavar="ADDRESS")
    parser.add_argument("--check", action="store_true", help="check the files, install nothing")
    options = parser.parse_args(arguments)
    target = options.to.expanduser().absolute()
    try:
        if sys.version_info < (3, 11):  # noqa: UP036 (the reader's Python may be any)
            raise WorkshopError(
                f"This is Python {platform.python_version()}, and 3.11 or newer is needed; start "
                "the file with it, such as: python3.11 install.py"
            )
        if options.check:
            sums = read_sums(HERE)
            verify(HERE, sums, sums)
            say(f"All {len(sums)} files are what they were.")
            return 0
        folder = HERE
        if options.address:
            folder = target.with_name(target.name + "-files")
            fetch(options.address, folder)
        sums = read_sums(folder)
        wheels = choose_wheels(folder)
        say("Checking the files …")
        verify(folder, needed(sums, wheels), sums)
        copy_course(folder / "course", target)
        install(folder, wheels, target)
    except (WorkshopError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
