import platform
import subprocess
import sys

import pytest
import torch

from gan_runner.errors import UserError
from gan_runner.training.devices import (
    Compute,
    choose_device,
    choose_precision,
    precision_to_go_on,
    tell_other_arithmetic,
)

CPU = torch.device("cpu")
GPUS = torch.cuda.device_count() if torch.cuda.is_available() else 0


def test_auto_chooses_a_gpu_where_there_is_one():
    assert choose_device("auto", "device") == (torch.device("cuda", 0) if GPUS else CPU)


def test_the_cpu_is_always_available():
    assert choose_device("cpu", "device") == CPU


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:", "cuda:-1", "mps:0", "", "cpu:1", "cuda0"])
def test_an_unknown_device_is_refused_with_key_value_and_suggestion(name):
    with pytest.raises(UserError) as refusal:
        choose_device(name, "device")
    assert str(refusal.value) == (f"device is {name}, but must be auto, cpu, mps, cuda or cuda:N.\n  Try device=auto.")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
@pytest.mark.skipif(GPUS > 0, reason="there is a GPU here")
def test_a_gpu_is_refused_if_there_is_none_with_key_value_and_suggestion(name):
    with pytest.raises(UserError) as refusal:
        choose_device(name, "device")
    assert str(refusal.value) == (f"device is {name}, but PyTorch sees no GPU here.\n  Try device=auto or device=cpu.")


@pytest.mark.gpu
@pytest.mark.skipif(not GPUS, reason="needs a CUDA device")
def test_gpus_are_chosen_by_number_and_one_too_many_is_refused_with_the_count():
    assert choose_device("cuda", "device") == torch.device("cuda", 0)
    assert choose_device(f"cuda:{GPUS - 1}", "device") == torch.device("cuda", GPUS - 1)
    with pytest.raises(UserError, match=rf"^trainer\.device is cuda:{GPUS}, but PyTorch sees {GPUS} GPUs? here\."):
        choose_device(f"cuda:{GPUS}", "trainer.device")


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_a_requested_precision_is_used(name):
    assert choose_precision(name, CPU) == name


def test_auto_chooses_bfloat16_where_the_processor_has_instructions_for_it():
    capabilities = torch.cpu.get_capabilities()
    quick = capabilities.get("amx_bf16", False) or capabilities.get("avx512_bf16", False)
    assert choose_precision("auto", CPU) == ("bf16" if quick else "fp32")


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_matrix_products_are_computed_in_the_chosen_precision(precision, dtype):
    with Compute(CPU, precision).arithmetic():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


CHURN = """
import resource, torch
from gan_runner.training.devices import prepare

def faults(calls):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(calls):
        torch.ones(2**24)  # 64 MiB, touched and freed
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(2)
wasteful = faults(10)
prepare(torch.device("cpu"))
faults(20)  # the heap grows to its size in a few calls, in how many differs from machine to machine
print(wasteful, faults(10))
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to")
def test_memory_of_freed_tensors_is_reused():
    printed = subprocess.run([sys.executable, "-c", CHURN], check=True, capture_output=True, text=True).stdout
    wasteful, sparing = map(int, printed.split())
    assert sparing < 100 < wasteful  # pages that the kernel had to find


@pytest.mark.parametrize("named", [True, False], ids=["the checkpoint names its device", "an earlier version's"])
@pytest.mark.parametrize("before", ["bf16", "fp32"])
def test_a_run_that_resumes_on_another_kind_of_device_takes_a_suitable_precision(named, before):
    for kind, taken in (("cpu", before), ("cuda", choose_precision("auto", CPU))):
        state = {"about": {"precision": before}, "random": {"device": None if kind == "cpu" else torch.zeros(1)}}
        if named:
            state["about"]["device"] = kind
        assert precision_to_go_on(state, CPU) == taken


def test_a_changed_precision_at_a_resume_is_reported(caplog):
    about = {"precision": "bf16", "threads": torch.get_num_threads()}
    tell_other_arithmetic(about, Compute(CPU, "fp32"))
    assert "This run computed in bf16, and now computes in fp32 on this device (cpu)" in caplog.text
