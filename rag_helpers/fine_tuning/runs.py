"""A training run on disk: begun, killed, gone on with, published.

While a run is under way its checkpoints are in a hidden folder beside the one
where the result will be; the result appears there whole or not at all. A run
that was stopped goes on when it is started again with the same settings.

The module does not know what is trained.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rag_helpers.errors import TrainingError

__all__ = ["Setting", "TrainingResult", "TrainingRun", "TrainingStep", "digest_of", "out_of_room"]

Setting: TypeAlias = str | int | float | bool | None

RECORD = "training.json"
"""File in a finished folder: the settings it was trained with."""
_CHECKPOINT = "checkpoint-"
_LOCK = "process"  # holds the number of the process that trains
_COMPLETE = "trainer_state.json"  # the last file that a trainer writes into a checkpoint
_SAMPLE_S = 0.1


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """What was seen at one step.

    Parameters
    ----------
    step, steps : int
        Number of the step, from 1, and how many there will be at most.
    loss : float or None
        Training loss of the step's batch.
    score : float or None
        What the evaluation gave, where one was made at this step.
    """

    step: int
    steps: int
    loss: float | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A finished training.

    Parameters
    ----------
    folder : Path
        What was trained: an adapter or a whole model, as safetensors.
    history : tuple of TrainingStep
        In order; steps before a kill are in it.
    best_step : int
        Step whose weights were kept: that of the best score, or the last.
    seconds : float
        Duration, of the last start only.
    peak_memory_mb : float
        Most memory that the process held meanwhile.
    trained_parameters, parameters : int
        Numbers that were trained, and numbers in the model.
    """

    folder: Path
    history: tuple[TrainingStep, ...]
    best_step: int
    seconds: float
    peak_memory_mb: float
    trained_parameters: int
    parameters: int

    @property
    def losses(self) -> list[tuple[int, float]]:
        """Steps with their training loss."""
        return [(row.step, row.loss) for row in self.history if row.loss is not None]

    @property
    def scores(self) -> list[tuple[int, float]]:
        """Steps with their evaluation."""
        return [(row.step, row.score) for row in self.history if row.score is not None]


def digest_of(records: Sequence[Any]) -> str:
    """Return a checksum of dataclass records, which tells one training set from another.

    Examples
    --------
    >>> digest_of([TrainingStep(1, 2)]) == digest_of([TrainingStep(1, 3)])
    False
    """
    digest = hashlib.sha256()
    for record in records:
        row = {name: sorted(v) if isinstance(v, frozenset) else v for name, v in _items(record)}
        digest.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
    return digest.hexdigest()


def _items(record: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 (any dataclass)
    yield from asdict(record).items()


class TrainingRun:
    """The folders of one run.

    Parameters
    ----------
    folder : str or Path
        Where the result will be. What an earlier training left there is
        replaced when this one has finished; anything else is refused.
    settings : Mapping
        Everything that changes the result, a digest of the pairs included.
    resume : bool
        Whether a run that was stopped goes on. False begins anew.

    Attributes
    ----------
    work : Path
        Where checkpoints are while the run is under way.

    Raises
    ------
    TrainingError
        If the folder holds something else, or cannot be written, another
        process trains there, or an unfinished run there has other settings.
    """

    def __init__(
        self, folder: str | Path, settings: Mapping[str, Setting], *, resume: bool = True
    ) -> None:
        self.folder = Path(folder).absolute()
        self.settings = dict(settings)
        self.work = self.folder.parent / f".{self.folder.name}.unfinished"
        if self.folder.exists() and not (self.folder / RECORD).is_file() and _holds(self.folder):
            raise TrainingError(
                f"{self.folder} exists and was not trained here; give a new folder, so that "
                "nothing is overwritten."
            )
        try:
            self._lock()
            if not resume:
                for place in self.work.iterdir():
                    if place.is_dir():
                        shutil.rmtree(place)
                    elif place.name != _LOCK:
                        place.unlink()
            self._compare_settings()
        except OSError as error:
            raise TrainingError(
                f"{self.work} cannot be written ({error.strerror or error}); give a folder that "
                "can."
            ) from error

    def _lock(self) -> None:
        """Refuse to share the folder with another process that is still alive."""
        import psutil  # comes with accelerate

        self.work.mkdir(parents=True, exist_ok=True)
        lock = self.work / _LOCK
        try:
            owner = int(lock.read_text(encoding="ascii"))
        except (OSError, ValueError):
            owner = os.getpid()
        if owner != os.getpid() and psutil.pid_exists(owner):
            raise TrainingError(
                f"Process {owner} trains in {self.work} already; wait for it, give another "
                f"folder, or delete {lock} if that process does something else."
            )
        lock.write_text(str(os.getpid()), encoding="ascii")

    def _compare_settings(self) -> None:
        file = self.work / RECORD
        if file.is_file():
            try:
                kept = json.loads(file.read_text(encoding="utf-8"))
            except ValueError:
                kept = {}
            changed = [
                f"{name} was {kept.get(name)!r} and is now {self.settings.get(name)!r}"
                for name in sorted({*kept, *self.settings})
                if kept.get(name) != self.settings.get(name)
            ]
            if changed:
                raise TrainingError(
                    f"{self.work} holds an unfinished training with other settings "
                    f"({'; '.join(changed)}); use those, give another folder, or begin anew with "
                    "resume=False."
                )
        else:
            _write_json(file, self.settings)

    def last_checkpoint(self) -> Path | None:
        """Return the newest whole checkpoint; halves that a kill left are deleted."""
        whole: list[tuple[int, Path]] = []
        for place in self.work.glob(f"{_CHECKPOINT}*"):
            try:
                json.loads((place / _COMPLETE).read_text(encoding="utf-8"))
                whole.append((int(place.name.removeprefix(_CHECKPOINT)), place))
            except (OSError, ValueError):
                shutil.rmtree(place, ignore_errors=True)
        return max(whole)[1] if whole else None

    def publish(self, save: Callable[[Path], object], record: Mapping[str, Any]) -> None:
        """Save the result beside its place, move it there whole, and delete the checkpoints.

        Parameters
        ----------
        save : callable
            ``save(folder)`` writes the weights.
        record : Mapping
            Kept in the folder beside the settings.
        """
        draft = self.work / "result"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        save(draft)
        _write_json(draft / RECORD, {"settings": self.settings, **record})
        for file in filter(Path.is_file, draft.rglob("*")):
            with file.open("r+b") as stream:
                os.fsync(stream.fileno())
        if self.folder.exists():
            old = self.work / "replaced"
            shutil.rmtree(old, ignore_errors=True)
            self.folder.replace(old)
        draft.replace(self.folder)
        shutil.rmtree(self.work, ignore_errors=True)


def _holds(folder: Path) -> bool:
    return not folder.is_dir() or any(folder.iterdir())


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    draft = file.with_name(f"{file.name}.new")
    with draft.open("w", encoding="utf-8", newline="\n") as stream:
        json.dump(content, stream, indent=1, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


class MemoryWatch:
    """Samples the memory of this process in a thread; `peak_mb` is the most it saw."""

    def __init__(self) -> None:
        self.peak_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work, name="memory watch", daemon=True)

    def _work(self) -> None:
        import psutil  # comes with accelerate

        process = psutil.Process()
        while True:
            self.peak_mb = max(self.peak_mb, process.memory_info().rss / 1e6)
            if self._done.wait(_SAMPLE_S):
                return

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        self.began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.began
        self._done.set()
        self._thread.join()


@contextmanager
def out_of_room(run: TrainingRun) -> Iterator[None]:
    """Turn a full disk or exhausted memory into a sentence; checkpoints stay where they are.

    Raises
    ------
    TrainingError
        Instead of `MemoryError`, torch's own error for it, and a full disk.
    """
    cure = f"what was done is kept in {run.work}: start again with the same settings to go on"
    try:
        yield
    except MemoryError as error:
        raise TrainingError(f"Memory ran out ({error}); close other programs; {cure}.") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise TrainingError(f"The disk is full ({error}); free some space; {cure}.") from error
    except RuntimeError as error:
        # torch has no class of its own for memory on the CPU, and safetensors none for disks.
        text = str(error)
        if "allocate memory" not in text and "out of memory" not in text.lower():
            if "No space left" not in text:
                raise
            raise TrainingError(f"The disk is full ({text}); free some space; {cure}.") from error
        raise TrainingError(f"Memory ran out ({text}); close other programs; {cure}.") from error
