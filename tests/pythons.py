"""Where the Pythons of this machine are."""

import os
import shutil
import subprocess
from pathlib import Path


def find_python(name):
    """Return a program of that name that starts, or None.

    pyenv puts a program of every version's name on the path that starts only the chosen ones:
    those that it does not start are looked up where it keeps them.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [shutil.which(name), *sorted(pyenv.glob(f"versions/*/bin/{name}"))]
    for program in filter(None, places):
        command = [str(program), "-c", "print('starts')"]
        if subprocess.run(command, capture_output=True, check=False).stdout.strip() == b"starts":
            return str(program)
    return None
