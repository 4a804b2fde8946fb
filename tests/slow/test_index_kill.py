"""Writers are killed and folders damaged: what loads is a whole index, or nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rag_helpers.errors import IndexIntegrityError
from rag_helpers.index import ChunkIndex
from rag_helpers.index import folder as storage
from rag_helpers.records import Chunk

pytestmark = pytest.mark.slow

KILLS = 100
MUTATIONS = 500
DIMENSION = 64
COUNTS = {"old": 400, "new": 700}

WRITER = """
import sys
sys.path.insert(0, {here!r})
from test_index_kill import build
indexes = [build("new"), build("old")]
assert "torch" not in sys.modules
print("ready", flush=True)
while True:
    for index in indexes:
        index.save({folder!r}, corpus="killed")
"""


def build(name: str) -> ChunkIndex:
    count = COUNTS[name]
    index = ChunkIndex(DIMENSION, model=name)
    vectors = np.random.default_rng(count).normal(size=(count, DIMENSION))
    texts = [f"{name} text {number} " * 20 for number in range(count)]
    index.add([Chunk(t, f"doc{n}", 0, len(t)) for n, t in enumerate(texts)], vectors)
    return index


def files_named(folder: Path) -> set[str]:
    return {entry["name"] for entry in ChunkIndex.info(folder)["files"].values()}


@pytest.mark.timeout(900)
def test_a_killed_writer_leaves_the_old_or_the_new_index(tmp_path):
    indexes = {name: build(name) for name in COUNTS}
    folder = tmp_path / "index"
    indexes["old"].save(folder)
    code = WRITER.format(here=str(Path(__file__).parent), folder=str(folder))
    chance = random.Random(0)
    seen = {"old": 0, "new": 0, "killed amid a save": 0}
    for _ in range(KILLS):
        before = {path.name for path in folder.iterdir()}
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline().strip() == b"ready"
            time.sleep(chance.uniform(0, 0.1))
            writer.kill()
        loaded = ChunkIndex.load(folder)
        whole = indexes[loaded.model]
        assert loaded.chunks == whole.chunks
        assert np.array_equal(loaded.vectors(), whole.vectors())
        seen[loaded.model] += 1
        left = {path.name for path in folder.iterdir()} - before
        seen["killed amid a save"] += bool(left - files_named(folder) - {"manifest.json"})
    # Else the kills came too early or too late to prove anything.
    assert all(number >= 5 for number in seen.values()), seen
    # A save that is left in peace tidies up after the dead, once they have been so for an hour.
    for path in folder.iterdir():
        os.utime(path, (time.time() - 2 * 3600,) * 2)
    indexes["new"].save(folder)
    assert {path.name for path in folder.iterdir()} == {*files_named(folder), "manifest.json"}
    assert ChunkIndex.load(folder).chunks == indexes["new"].chunks


def mutate(folder: Path, other: Path, chance: random.Random) -> str:
    """Damage a folder in one random way and return its description."""
    paths = sorted(folder.iterdir())
    path = chance.choice(paths)
    data = bytearray(path.read_bytes())
    kind = chance.choice(["flip", "cut", "append", "delete", "swap", "transplant", "edit"])
    if kind == "flip":
        place, bit = chance.randrange(len(data)), chance.randrange(8)
        data[place] ^= 1 << bit
        path.write_bytes(data)
    elif kind == "cut":
        path.write_bytes(data[: chance.randrange(len(data))])
    elif kind == "append":
        path.write_bytes(bytes(data) + chance.randbytes(chance.randint(1, 100)))
    elif kind == "delete":
        path.unlink()
    elif kind == "swap":
        second = chance.choice([p for p in paths if p != path])
        path.write_bytes(second.read_bytes())
        second.write_bytes(data)
    elif kind == "transplant":
        # A healthy file of another healthy index, under the name of ours.
        named = path.name if path.name == "manifest.json" else path.name.split("-")[0] + "-*"
        path.write_bytes(next(other.glob(named)).read_bytes())
    else:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        key = chance.choice(sorted(manifest))
        wrong = [None, -1, 10**12, "", "other", [], {}, True, 3.5, "../../secret"]
        manifest[key] = chance.choice([value for value in wrong if value != manifest[key]])
        text = json.dumps(manifest, sort_keys=True, indent=2) + "\n"
        (folder / "manifest.json").write_text(text, encoding="utf-8", newline="\n")
        kind += f" {key}={manifest[key]!r}"
    return f"{kind} {path.name}"


@pytest.mark.parametrize("memory_map", [False, True])
def test_mutated_folders_are_refused_before_anything_is_parsed(tmp_path, monkeypatch, memory_map):
    import faiss

    healthy, other, damaged = (tmp_path / name for name in ("healthy", "other", "damaged"))
    build("old").save(healthy, corpus="a")
    # Same count and dimension, so that only the contents differ.
    twin = build("old")
    twin.add([Chunk("twin", "doc0", 0, 4)], np.ones((1, DIMENSION)), replace=True)
    twin.save(other, corpus="a")

    parsed: list[str] = []
    for reader in ("deserialize_index", "read_index"):
        monkeypatch.setattr(faiss, reader, lambda *_: parsed.append("vectors"))
    monkeypatch.setattr("rag_helpers.index.proving.from_lines", lambda *_: parsed.append("chunks"))
    chance = random.Random(0)
    for _ in range(MUTATIONS):
        shutil.copytree(healthy, damaged)
        what = mutate(damaged, other, chance)
        try:
            ChunkIndex.load(damaged, memory_map=memory_map)
        except IndexIntegrityError as error:
            assert "build the index again" in str(error), (what, str(error))
        else:
            pytest.fail(f"loaded after: {what}")
        assert not parsed, what
        shutil.rmtree(damaged)
    monkeypatch.undo()
    assert len(ChunkIndex.load(healthy, memory_map=memory_map)) == COUNTS["old"]


@pytest.mark.parametrize(
    "facts",
    [
        {"count": 399, "vectors": 399},
        {"vectors": 401},
        {"dimension": 63},
        {"count": 0, "vectors": 0},
    ],
)
def test_a_corrected_checksum_does_not_hide_a_wrong_size(tmp_path, monkeypatch, facts):
    """The manifest's own checksum can be made to fit by hand; the size of the vectors cannot."""
    import faiss

    build("old").save(tmp_path)
    manifest = {**ChunkIndex.info(tmp_path), **facts}
    (tmp_path / "manifest.json").write_bytes(storage._manifest_bytes(manifest))
    monkeypatch.setattr(faiss, "deserialize_index", lambda *_: pytest.fail("parsed"))
    with pytest.raises(IndexIntegrityError, match="but the file has"):
        ChunkIndex.load(tmp_path)
