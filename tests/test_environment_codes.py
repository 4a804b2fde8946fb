"""The code for a teacher, and the report on one screen."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rag_helpers.__main__ import main
from rag_helpers.environment import (
    CheckResult,
    MachineCode,
    check_environment,
    codes,
    decode,
    decode_table,
    describe_machine,
    encode,
    summarize,
)
from rag_helpers.errors import InvalidInputError

ROOT = Path(__file__).resolve().parents[1]

machines = st.builds(
    MachineCode,
    failed=st.sets(st.sampled_from(codes.CHECKS)).map(
        lambda names: tuple(name for name in codes.CHECKS if name in names)
    ),
    python_minor=st.integers(0, 31),
    system=st.sampled_from(codes.SYSTEMS),
    cores=st.sampled_from(codes.CORES),
    memory=st.sampled_from(codes.MEMORY),
)
READY = MachineCode((), 11, "Linux", "2-3", "16-32 GB")
SOME = MachineCode(("torch", "memory"), 12, "Windows", "8+", "4-8 GB")
results = st.lists(
    st.builds(
        CheckResult,
        name=st.text(max_size=30) | st.sampled_from(codes.CHECKS),
        ok=st.booleans(),
        detail=st.text(max_size=200),
        cure=st.text(max_size=300),
    ),
    max_size=60,
)


def value_of(code):
    number = 0
    for digit in code.replace("-", ""):
        number = number * 32 + codes.ALPHABET.index(digit)
    return number


# Codes ---------------------------------------------------------------------------------------


@given(machines)
def test_a_code_says_what_was_put_in(machine):
    code = encode(machine)
    assert len(code) == 14 and code[4] == code[9] == "-"
    assert decode(code) == MachineCode(
        tuple(name for name in codes.CHECKS if name in machine.failed),
        machine.python_minor,
        machine.system,
        machine.cores,
        machine.memory,
    )


@given(machines)
def test_case_dashes_spaces_and_look_alikes_do_not_matter(machine):
    code = encode(machine)
    for written in (code.lower(), code.replace("-", ""), f" {code.replace('-', ' ')} "):
        assert decode(written) == decode(code)
    assert decode(code.replace("0", "O").replace("1", "l")) == decode(code)


@pytest.mark.parametrize("machine", [READY, SOME])
def test_no_single_wrong_character_passes(machine):
    code = encode(machine).replace("-", "")
    for place, right in enumerate(code):
        for wrong in set(codes.ALPHABET) - {right}:
            with pytest.raises(InvalidInputError, match="mistyped, or two changed places"):
                decode(code[:place] + wrong + code[place + 1 :])


@given(machines, st.integers(0, 10))
def test_swapped_neighbours_do_not_pass(machine, place):
    code = encode(machine).replace("-", "")
    swapped = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
    if swapped != code:
        with pytest.raises(InvalidInputError, match="changed places"):
            decode(swapped)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_a_sentence(text):
    try:
        machine = decode(text)
    except InvalidInputError as error:
        assert "\n" not in str(error) and len(str(error)) < 300
    else:
        assert decode(encode(machine)) == machine


@pytest.mark.parametrize(
    ("written", "cause"),
    [
        ("5CC0-0000-00K", "has 11 characters and a code has 12: some are missing"),
        ("5CC0-0000-00K45", "has 13 characters and a code has 12: some are too many"),
        ("5CC0-0000-00U4", "holds 'U', which no code has"),
        ("5CC0-0000-00Ü4", "which no code has"),
        ("", "has 0 characters"),
    ],
)
def test_the_likely_cause_of_a_wrong_code_is_named(written, cause):
    with pytest.raises(InvalidInputError, match=cause):
        decode(written)


def test_a_code_of_another_version_is_named_as_such():
    # Version 2 instead of 1, with digits that add up.
    number = (value_of(encode(READY)) >> 10) + (1 << 47)
    number = (number << 10) + -(number << 10) % 1021
    digits = "".join(codes.ALPHABET[number >> 5 * place & 31] for place in reversed(range(12)))
    with pytest.raises(InvalidInputError, match="another version of the course"):
        decode(digits)


def test_a_field_that_no_code_can_hold_is_refused():
    for wrong in (
        MachineCode((), 40, "Linux", "1", "unknown"),
        MachineCode((), 11, "BeOS", "1", "unknown"),
        MachineCode(("no such check",), 11, "Linux", "1", "unknown"),
    ):
        with pytest.raises(InvalidInputError, match="cannot be written as a code"):
            encode(wrong)


def test_every_check_that_can_fail_has_a_place_in_the_code():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {line.partition(">")[0] for line in project["dependencies"]}
    # These never fail: they say what is there.
    told = {"cores", "Chromium", "Colab", "bfloat16"}
    named = {result.name for result in check_environment()} - told
    assert needed | named <= set(codes.CHECKS)
    assert len(set(codes.CHECKS)) == len(codes.CHECKS) <= codes._CHECK_BITS


def test_an_unknown_check_that_fails_is_not_lost():
    machine = describe_machine([CheckResult("moon", False, "full"), CheckResult("x", True, "")])
    assert decode(encode(machine)).failed == ("something else",)


def test_the_table_puts_what_needs_help_first_and_counts():
    lines, all_ready = decode_table([encode(READY), "nonsense", encode(SOME), encode(SOME)])
    assert [line.split()[0] for line in lines[:4]] == ["WRONG", "LACKS", "LACKS", "READY"]
    assert "Python 3.12 Windows   8+ cores  4-8 GB" in lines[1]
    assert lines[1].endswith("memory, torch")
    assert lines[4:] == ["Lacking: memory (2), torch (2)", "1 of 4 machines are ready."]
    assert not all_ready
    assert decode_table([encode(READY)])[1]


def test_the_command_decodes_and_its_exit_code_says_whether_all_are_ready(capsys):
    assert main(["check", "--decode", encode(READY), encode(READY).lower()]) == 0
    assert capsys.readouterr().out.endswith("2 of 2 machines are ready.\n")
    assert main(["check", "--decode", encode(SOME)]) == 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "unknown"),
        (3.9e9, "under 4 GB"),
        (4e9, "4-8 GB"),
        (16.1e9, "16-32 GB"),
        (1e12, "32 GB+"),
    ],
)
def test_memory_is_told_by_class(size, expected):
    assert codes._memory_class(int(size)) == expected


@pytest.mark.parametrize(("cores", "expected"), [(1, "1"), (2, "2-3"), (7, "4-7"), (64, "8+")])
def test_cores_are_told_by_class(cores, expected):
    assert codes._cores_class(cores) == expected


# The screen ----------------------------------------------------------------------------------


@given(results)
@example([CheckResult("x", False, "a\x85b", "c\x85d\u2028e")])
def test_the_report_fits_one_screen_whatever_failed(found):
    lines = summarize(found)
    assert len(lines) <= 24
    assert max(len(line) for line in lines) <= 80
    assert all(line.splitlines() in ([line], []) for line in lines)
    assert lines[0].startswith("READY" if all(result.ok for result in found) else "NOT READY")
    assert decode(lines[-1].rpartition(" ")[2]).is_ready == all(result.ok for result in found)


def test_a_failure_stands_with_its_cure_once():
    found = [CheckResult(name, False, "not installed", "Run it.") for name in ("torch", "numpy")]
    lines = summarize(found)
    assert lines[0] == "NOT READY: 2 of 2 checks failed."
    assert [line.split()[:2] for line in lines[2:4]] == [["FAIL", "torch"], ["FAIL", "numpy"]]
    assert lines[4] == "  ->  Run it."
    assert sum("Run it." in line for line in lines) == 1


def test_what_does_not_fit_is_counted():
    found = [CheckResult(f"package {n}", False, "not installed", "Run it.") for n in range(40)]
    lines = summarize(found)
    shown = sum(line.startswith("FAIL") for line in lines)
    assert f"and {40 - shown} more; `check --all` lists them." in lines
    assert "  ->  Run it." in lines


@pytest.mark.seconds
def test_the_screen_needs_the_standard_library_alone(tmp_path):
    # -S leaves out site-packages, as on a participant's machine before the installation.
    done = subprocess.run(
        [sys.executable, "-S", "-m", "rag_helpers", "check"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={"RAG_CACHE": str(tmp_path)},
    )
    if "NOT READY" not in done.stdout:  # a repository with a .venv moves into it
        assert done.stdout.startswith("READY")
    lines = done.stdout.splitlines()
    assert len(lines) <= 24
    code = lines[-1].removeprefix("Code for the teacher: ")
    assert decode(code).is_ready == done.stdout.startswith("READY")
