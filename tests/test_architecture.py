"""What ARCHITECTURE.md promises about the code, proved by reading the code."""

import ast
import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from rag_helpers.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "rag_helpers"

# Imports go from right to left; modules of one group do not know each other.
ORDER = (
    ("errors",),
    ("installation", "records"),
    ("environment", "workshop"),
    ("models",),
    ("corpus", "chunking", "prompting", "evaluation"),
    ("embedding", "index"),
    ("generator",),
    ("retriever",),
    ("pipeline",),
    ("fine_tuning", "optimization", "deployment"),
    ("scaling",),
    ("plots", "widget_pictures", "publishing"),
    ("notebook_sources",),
    ("widgets", "notebook_execution"),
    ("notebook_builder",),
    ("exercises",),
    ("commands",),
    ("__main__",),
)
PLACE = {name: place for place, group in enumerate(ORDER) for name in group}
MAX_CODE_LINES = 250
# Checks of what learners write: as long as there are exercises.
EXEMPT_FROM_SIZE = {"exercises"}
SLOW_TO_IMPORT = ("torch", "transformers", "faiss", "ipywidgets", "numpy")

# Beside the data lie the scripts that made it: no part of what is imported.
FILES = sorted(set(PACKAGE.rglob("*.py")) - set((PACKAGE / "data").rglob("*.py")))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


@cache
def nodes(path):
    """Return all nodes of a module: the walk is most of the time of the checks that read them."""
    return tuple(ast.walk(TREES[path]))


def module_of(path):
    """Return the module's name in ORDER; a package counts as one module."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def label(path):
    return path.relative_to(PACKAGE).as_posix()


MODULES = sorted({module_of(path) for path in FILES} - {"__init__"})
every_file = pytest.mark.parametrize("path", FILES, ids=label)


def imported_modules(path):
    """Yield (line, module of this package) for every import in a module."""
    for node in nodes(path):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            # `from rag_helpers import index` names a module; `from rag_helpers.index import X` too.
            inside = node.module == "rag_helpers"
            names = [
                f"{node.module}.{alias.name}" if inside else node.module for alias in node.names
            ]
        for name in names:
            head, _, rest = name.partition(".")
            if head == "rag_helpers":
                yield node.lineno, rest.partition(".")[0]


def code_lines(path):
    """Return how many lines are neither blank, comment nor docstring."""
    text = path.read_text(encoding="utf-8")
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = set()
    for node in nodes(path):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in docstrings
        for number, line in enumerate(text.splitlines(), start=1)
    )


def literal(tree, name):
    """Return the value of a module-level constant, None when there is none."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return ast.literal_eval(node.value)
    return None


def test_every_module_has_its_place_in_the_order():
    assert set(MODULES) <= set(PLACE), "name new modules in ORDER and in ARCHITECTURE.md"


@every_file
def test_imports_go_one_way(path):
    own = module_of(path)
    if own == "__init__":
        assert list(imported_modules(path)) == []
        return
    wrong = [
        f"line {line} imports {other or 'the package itself'}"
        for line, other in imported_modules(path)
        if other != own and PLACE.get(other, len(ORDER)) >= PLACE[own]
    ]
    assert wrong == []


@every_file
def test_modules_import_each_other_by_full_name(path):
    levels = [n.lineno for n in nodes(path) if isinstance(n, ast.ImportFrom) and n.level]
    assert levels == []


@every_file
def test_modules_stay_small(path):
    if module_of(path) not in EXEMPT_FROM_SIZE:
        assert code_lines(path) <= MAX_CODE_LINES


@every_file
def test_modules_say_what_they_are_and_what_they_offer(path):
    assert ast.get_docstring(TREES[path])
    if path == PACKAGE / "__init__.py":
        return  # its names are computed; the next test is about them
    offered = literal(TREES[path], "__all__")
    assert offered is not None
    assert len(offered) == len(set(offered))


def test_the_package_offers_names_that_exist():
    for name, module in literal(TREES[PACKAGE / "__init__.py"], "_HOME").items():
        home = PACKAGE / module / "__init__.py"
        home = home if home.exists() else PACKAGE / f"{module}.py"
        assert home in TREES, f"{name} is promised from {module}, which does not exist"
        assert name in literal(TREES[home], "__all__")


def test_no_module_is_a_drawer():
    assert not {path.stem for path in FILES} & {"utils", "util", "helpers", "misc", "common"}


@pytest.mark.parametrize("module", ["installation", "errors", "commands", "__main__", "__init__"])
def test_what_sets_up_needs_the_standard_library_alone(module):
    top_level = [
        name
        for path, tree in TREES.items()
        if module_of(path) == module
        for node in tree.body
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    ]
    heads = {name.partition(".")[0] for name in top_level} - {"rag_helpers"}
    assert heads <= sys.stdlib_module_names


@every_file
def test_no_code_from_strangers_is_run(path):
    for call in (node for node in nodes(path) if isinstance(node, ast.Call)):
        called = ast.unparse(call.func)
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert options.get("trust_remote_code", "False") == "False"
        assert options.get("shell", "False") == "False"
        assert called not in ("os.system", "os.popen", "eval", "exec")
        assert not called.startswith(("pickle.", "dill.", "cloudpickle.", "joblib.", "marshal."))
        if called == "torch.load":
            assert options.get("weights_only") == "True"


def test_importing_the_package_is_fast_and_loads_nothing_heavy():
    code = (
        "import sys, time; began = time.perf_counter(); import rag_helpers;"
        "print(time.perf_counter() - began);"
        f"print(*[name for name in {SLOW_TO_IMPORT} if name in sys.modules])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
        ).stdout.splitlines()
        for _ in range(3)
    ]
    assert {run[1] for run in runs} == {""}
    # The fastest of three: what other programs do meanwhile is not the package's doing.
    assert min(float(run[0]) for run in runs) < 0.3


def test_importing_a_public_name_loads_its_module():
    spec = importlib.util.find_spec("rag_helpers")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.RagError.__module__ == "rag_helpers.errors"
    assert "RagError" in dir(module)
    with pytest.raises(AttributeError, match="no attribute 'ragerror'"):
        module.ragerror  # noqa: B018


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md"])
def test_documents_name_every_module_and_every_command(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    missing = [name for name in MODULES if f"{name}.py" not in text and f"{name}/" not in text]
    missing += [
        f"rag_helpers {command.name}"
        for command in COMMANDS
        if f"rag_helpers {command.name}" not in text and f"`{command.name}`" not in text
    ]
    assert missing == []


def test_every_test_that_the_threat_model_names_exists():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8")))
    written = {
        found
        for file in (ROOT / "tests").rglob("test_*.py")
        for found in re.findall(r"(?m)^def (test_\w+)", file.read_text(encoding="utf-8"))
    }
    assert len(named) >= 25
    assert named <= written, named - written
