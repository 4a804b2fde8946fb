"""Colab's cell and badge, the book, the slides and the links; no cell of a notebook is run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_helpers.errors import InvalidInputError
from rag_helpers.notebook_builder import read_source
from rag_helpers.publishing import (
    Address,
    add_colab,
    build_slides,
    colab_badge,
    colab_cell,
    find_dead_links,
    find_outside_assets,
    on_colab,
    read_address,
    readme_block,
)
from rag_helpers.publishing.slides import Slide, cut_into_slides, render_slides

# The libraries that read and check notebooks take seconds to import.
pytestmark = pytest.mark.seconds

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
NOWHERE = Address("", "")
SOMEWHERE = Address("me/course", "v1.0")
STEMS = [path.stem for path in sorted((NOTEBOOKS / "source").glob("[0-9][0-9]_*.py"))]
STEMS = [name for name in STEMS if not name.endswith("_solutions")]


# The address ---------------------------------------------------------------------------------


def write(tmp_path, repository, ref):
    path = tmp_path / "pyproject.toml"
    path.write_text(f"[tool.rag-helpers]\nrepository = {repository!r}\nref = {ref!r}\n")
    return path


@pytest.mark.parametrize("end", ["", "/", ".git"])
def test_one_setting_says_where_the_course_is_published(tmp_path, end):
    path = write(tmp_path, f"https://github.com/me/course{end}", "v1.0")
    assert read_address(path) == SOMEWHERE
    assert SOMEWHERE.clone == "https://github.com/me/course.git"
    assert SOMEWHERE.in_colab("01_setup").endswith("/me/course/blob/v1.0/notebooks/01_setup.ipynb")


def test_an_empty_or_absent_setting_is_nowhere(tmp_path):
    assert not read_address(write(tmp_path, "", "v1"))
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    assert not read_address(tmp_path / "pyproject.toml")


@pytest.mark.parametrize(
    "repository",
    [
        "me/course",
        "http://github.com/me/course",
        "https://github.com/me",
        'https://github.com/a/"b',
    ],
)
def test_what_is_no_address_is_refused(tmp_path, repository):
    with pytest.raises(InvalidInputError, match=r"https://github\.com/OWNER/NAME"):
        read_address(write(tmp_path, repository, "v1"))


@pytest.mark.parametrize("ref", ["", "../x", "a b", '"); import os', "-x"])
def test_a_ref_that_is_none_is_refused(tmp_path, ref):
    with pytest.raises(InvalidInputError, match="name the tag or commit"):
        read_address(write(tmp_path, "https://github.com/me/course", ref))


# Colab ---------------------------------------------------------------------------------------


def test_without_an_address_there_is_no_badge_and_readme_tells_how_to_upload():
    assert colab_badge(NOWHERE, "01_setup") == ""
    assert "zip" in readme_block(NOWHERE, STEMS)
    assert "colab.research" not in readme_block(NOWHERE, STEMS)
    shown = readme_block(SOMEWHERE, STEMS)
    assert all(f"[{name[:2]}]({SOMEWHERE.in_colab(name)})" in shown for name in STEMS)


def test_readme_says_of_colab_what_follows_from_the_setting():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme_block(read_address(), STEMS) in " ".join(text.split())


def test_the_badge_is_a_picture_of_our_own():
    picture = re.search(r"!\[.+?\]\((.+?)\)", colab_badge(SOMEWHERE, "01_setup"))[1]
    assert (NOTEBOOKS / picture).is_file()


def test_the_cell_comes_behind_the_title_and_the_badge_stands_in_it():
    from nbformat import v4

    cells = [v4.new_markdown_cell("# Title"), v4.new_code_cell("1")]
    notebook = v4.new_notebook(cells=cells)
    add_colab(notebook, SOMEWHERE, "02_chunking")
    assert notebook.cells[0].source.startswith("# Title\n\n[![Open in Colab]")
    sources = [cell.source for cell in notebook.cells[1:]]
    assert sources == [colab_cell(SOMEWHERE), "1"]
    untitled = v4.new_notebook(cells=[v4.new_code_cell("1")])
    add_colab(untitled, SOMEWHERE, "02_chunking")
    assert len(untitled.cells) == 1


@pytest.mark.parametrize("name", STEMS)
def test_the_first_code_cell_of_every_notebook_is_the_generated_one(name):
    notebook = read_source(NOTEBOOKS / "source" / f"{name}.py")
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source == colab_cell(read_address())
    source = (NOTEBOOKS / "source" / f"{name}.py").read_text(encoding="utf-8")
    assert "google.colab" not in source  # said once, by the builder


@pytest.mark.parametrize("address", [NOWHERE, SOMEWHERE])
def test_outside_colab_the_cell_does_nothing(address, tmp_path):
    code = f"import os; before = dict(os.environ), os.getcwd()\n{colab_cell(address)}\n"
    code += "assert before == (dict(os.environ), os.getcwd()) and 'subprocess' not in globals()"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []


def toy_course(folder):
    """A course whose installation only writes down that it was asked for."""
    package = folder / "rag_helpers" / "publishing"
    package.mkdir(parents=True)
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "01.ipynb").write_text("{}")
    for path in (package.parent / "__init__.py", package / "__init__.py"):
        path.write_text("")
    (package.parent / "__main__.py").write_text("")
    note = "import pathlib; pathlib.Path('installed').write_text('yes')"
    (package / "on_colab.py").write_text(note)


def run_as_in_colab(code, folder):
    run = "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')\n"
    run += f"{code}\nimport os, rag_helpers; print(os.getcwd()); print(rag_helpers.__file__)"
    return subprocess.run(
        [sys.executable, "-c", run], cwd=folder, capture_output=True, text=True, check=False
    )


def test_in_colab_it_installs_from_an_uploaded_zip(tmp_path):
    import shutil

    toy_course(tmp_path / "made" / "course-main")
    (tmp_path / "content").mkdir()
    shutil.make_archive(str(tmp_path / "content" / "course"), "zip", tmp_path / "made")
    done = run_as_in_colab(colab_cell(NOWHERE), tmp_path / "content")
    assert done.returncode == 0, done.stderr
    course = tmp_path / "content" / "course-main"
    assert (course / "installed").exists()
    assert done.stdout.split() == [str(course / "notebooks"), f"{course}/rag_helpers/__init__.py"]


def test_in_colab_without_the_zip_it_says_what_to_upload(tmp_path):
    done = run_as_in_colab(colab_cell(NOWHERE), tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("Upload the course as a zip")


def test_in_colab_it_takes_the_pinned_ref_of_the_repository(tmp_path):
    remote, content = tmp_path / "remote", tmp_path / "content"
    content.mkdir()
    toy_course(remote)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(remote)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "1"], ["tag", "v1.0"]):
        subprocess.run([*git, *command], check=True)
    (remote / "notebooks" / "01.ipynb").write_text("later than v1.0")
    subprocess.run([*git, "commit", "-qam", "2"], check=True)
    # The same cell, from a repository on this disk instead of GitHub.
    code = colab_cell(SOMEWHERE).replace(SOMEWHERE.clone, remote.as_uri())
    done = run_as_in_colab(code, content)
    assert done.returncode == 0, done.stderr
    assert (content / "course" / "notebooks" / "01.ipynb").read_text() == "{}"
    assert (content / "course" / "installed").exists()


def test_only_what_is_absent_is_installed_and_never_torch_or_numpy(monkeypatch):
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    monkeypatch.setattr(on_colab, "_version", lambda name: "")
    every = {line.partition("==")[0] for line in on_colab.find_absent(lines)}
    assert not every & {"torch", "numpy", "jupyterlab"}
    assert {"faiss-cpu", "evaluate", "bm25s"} <= every
    monkeypatch.setattr(on_colab, "_version", lambda name: "" if name == "bm25s" else "1")
    assert [line.partition("==")[0] for line in on_colab.find_absent(lines)] == ["bm25s"]


@pytest.mark.parametrize("torchao", ["", "0.10"])
def test_pip_is_held_to_the_torch_and_numpy_that_are_there(monkeypatch, torchao):
    calls = []
    here = {"torch": "2.11.0+cu128", "numpy": "2.1.3", "torchao": torchao}
    monkeypatch.setattr(on_colab, "_version", lambda name: here.get(name, ""))

    def record(command, check):
        held = ""
        if "--constraint" in command:
            held = Path(command[command.index("--constraint") + 1]).read_text()
        calls.append((command[2:], held))
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(on_colab.subprocess, "run", record)
    assert on_colab.main() == 0
    assert calls[0][1] == "torch==2.11.0+cu128\nnumpy==2.1.3\n"
    assert "--no-deps" in calls[1][0] and "--require-hashes" in calls[1][0]
    assert [call[0][1] for call in calls[2:]] == (["uninstall"] if torchao else [])


def test_a_failure_of_pip_ends_it(monkeypatch):
    failed = types.SimpleNamespace(returncode=3)
    monkeypatch.setattr(on_colab.subprocess, "run", lambda *_, **__: failed)
    assert on_colab.main() == 3


# Environments with other versions -----------------------------------------------------------


def test_the_oldest_environment_is_the_lower_bounds():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["serve"]
    bounds = dict(re.match(r"([\w.-]+)>=([\d.]+)", line).groups() for line in wanted)
    pins = {}
    for line in (ROOT / "tests/environments/oldest.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, _, version = line.partition("==")
            pins[name] = version
    assert pins.keys() == bounds.keys()
    for name, version in pins.items():
        # 5.15.0 is the 5.15 of the bound.
        assert re.fullmatch(rf"{re.escape(bounds[name])}(\.0)*", version), name


def test_the_books_extra_is_pinned_as_the_test_tools_are():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = extras["optional-dependencies"]
    assert set(extras["book"]) <= set(extras["dev"])


# Slides --------------------------------------------------------------------------------------


def code(source, *outputs):
    return {"cell_type": "code", "source": source, "outputs": list(outputs)}


def text_cell(source):
    return {"cell_type": "markdown", "source": source}


def printed(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def test_a_slide_is_a_paragraph_with_what_its_cells_showed():
    picture = {"output_type": "display_data", "data": {"image/png": "aGk=\n"}}
    cells = [
        text_cell("# Title\nBegin."),
        code("# @title Colab", printed("")),
        text_cell("## One\nText."),
        code("1 + 1", printed("2\n")),
        code("x", picture),
        text_cell("More."),
        code("\n".join("x" * 30)),
    ]
    first, one, more = cut_into_slides(cells)
    assert (first.title, first.code, first.text) == ("Title", "", "Begin.")
    assert (one.title, one.code, one.printed, one.pictures) == ("One", "1 + 1", "2\n", ["aGk="])
    assert (more.title, more.code) == ("One", "")  # thirty lines are no slide


HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def test_what_documents_and_models_said_is_shown_and_not_run():
    slide = Slide(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    page = render_slides([slide], title=HOSTILE, folder=NOTEBOOKS)
    assert page.count("<script>") == 1  # the page's own
    assert "<img src=x" not in page and page.count("&lt;script&gt;") == 5


def test_no_slides_is_an_error_with_its_cure(tmp_path):
    with pytest.raises(InvalidInputError, match="build the notebooks first"):
        render_slides([], title="x", folder=tmp_path)
    with pytest.raises(InvalidInputError, match="run `make notebooks`"):
        build_slides(tmp_path / "out", notebooks=tmp_path)


def test_slides_of_the_course_load_nothing_and_hold_every_section(tmp_path):
    pages = build_slides(tmp_path / "slides")
    assert [page.stem for page in pages] == STEMS
    assert find_outside_assets(tmp_path / "slides") == []
    assert find_dead_links(tmp_path / "slides") == []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        notebook = json.loads((NOTEBOOKS / f"{page.stem}.ipynb").read_text(encoding="utf-8"))
        sources = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"]
        for heading in re.findall(r"(?m)^## ([\w ,]+)$", "\n".join(sources)):
            assert f"<h2>{heading}</h2>" in text, heading
        assert "<script src" not in text
        assert ("data:image/svg+xml" in text) == any("(figures/" in source for source in sources)


# Links ---------------------------------------------------------------------------------------


def test_dead_links_pictures_and_places_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        "<p id='here'><a href='#here'>1</a><a href='#gone'>2</a><a href='b.html#there'>3</a>"
        "<a href='b.html#gone'>4</a><a href='https://elsewhere.org/x'>5</a><img src='p.png'>"
        "<a href='../outside.html'>6</a><a href='mailto:a@b.c'>7</a><a href='c%20d.html'>8</a>"
    )
    (tmp_path / "b.html").write_text("<h1 id='there'>")
    (tmp_path / "c d.html").write_text("")
    assert find_dead_links(tmp_path) == [
        "a.html: #gone leads nowhere",
        "a.html: ../outside.html leads nowhere",
        "a.html: b.html#gone leads nowhere",
        "a.html: p.png leads nowhere",
    ]


@pytest.mark.parametrize(
    "asset",
    [
        "<script src='https://cdn.net/x.js'></script>",
        "<script src='//cdn.net/x.js'></script>",
        "<link rel='stylesheet' href='http://cdn.net/x.css'>",
        "<link rel='preconnect' href='https://fonts.net'>",
        "<img src='https://img.shields.io/badge.svg'>",
        "<img srcset='a.png 1x, https://x.net/b.png 2x'>",
        "<iframe src='https://video.net/1'></iframe>",
        "<style>@import 'https://fonts.net/a.css';</style>",
        "<p style='background: url(https://x.net/p.png)'>",
    ],
)
def test_whatever_a_page_would_load_from_elsewhere_is_found(tmp_path, asset):
    (tmp_path / "a.html").write_text(f"<html>{asset}")
    assert len(find_outside_assets(tmp_path)) == 1


def test_links_that_load_nothing_are_left_alone(tmp_path):
    (tmp_path / "a.html").write_text(
        "<link rel='canonical' href='https://x.net/'><a href='https://x.net/'>x</a>"
        "<img src='data:image/png;base64,aGk='>"
    )
    (tmp_path / "a.css").write_text("p { background: url(img/p.png) }")
    assert find_outside_assets(tmp_path) == []
    (tmp_path / "a.css").write_text("p { background: url('https://x.net/p.png') }")
    assert find_outside_assets(tmp_path) == ["a.css: a style loads something from another site"]


@given(st.text(max_size=300))
def test_any_page_can_be_looked_at(tmp_path_factory, text):
    where = tmp_path_factory.mktemp("site")
    (where / "a.html").write_text(text, encoding="utf-8", errors="replace")
    assert isinstance([*find_dead_links(where), *find_outside_assets(where)], list)


# Documents -----------------------------------------------------------------------------------


def prose(name):
    source = (NOTEBOOKS / "source" / f"{name}.py").read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", re.sub(r"\n# ?", " ", source)).lower()


def test_every_term_of_the_glossary_stands_in_the_notebook_it_names():
    text = (NOTEBOOKS / "GLOSSARY.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| (.+?) \| .+ \| \[\d\d\]\((\w+)\.ipynb\) \|$", text)
    assert len(rows) >= 50
    terms = [term for term, _ in rows]
    assert terms == sorted(terms, key=str.lower) and len(set(terms)) == len(terms)
    assert [term for term, name in rows if term.lower() not in prose(name)] == []


def test_the_guide_answers_every_thought_question_and_names_sections_that_exist():
    guide = (NOTEBOOKS / "TEACHING.md").read_text(encoding="utf-8")
    plans, _, answers = guide.partition("## What may be said")
    assert re.findall(r"(?m)^\*\*(\d\d) · ", answers) == [
        name[:2] for name in STEMS if "think about it" in prose(name)
    ]
    headings = {
        heading.lower()
        for name in STEMS
        for heading in re.findall(
            r"(?m)^# ##+ (.+)$",
            (NOTEBOOKS / "source" / f"{name}.py").read_text(encoding="utf-8"),
        )
    }
    for named in re.findall(r"\*([A-Z][\w ,?]+?)\*", plans[plans.index("## Half a day") :]):
        if named != "Run all":
            assert named.lower() in headings, named


def test_the_minutes_of_each_plan_add_up():
    guide = (NOTEBOOKS / "TEACHING.md").read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\| \d:\d\d \| \d+ \|.*\n)+", guide, re.MULTILINE)
    ends = []
    for table in tables:
        clock = 0
        for hour, minute, length in re.findall(r"(?m)^\| (\d):(\d\d) \| (\d+) \|", table):
            assert int(hour) * 60 + int(minute) == clock, table
            clock += int(length)
        ends.append(clock)
    assert ends == [240, 360, 360]
