"""What a training step on a GPU is made of: its kernels, how often each is launched, and the share of the matrix peak that it reaches.

    python benchmarks/step.py [SPEC ...] [--params params/gpu.yaml] [--rows 16] [--length 4096] [--reports reports/gpu/steps]

SPEC is a name in the profile's model specs (default: wavestack transformer), built at the budget of the profile's sequence-length study.
"""

import argparse
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from wavestack.artifacts import write_json
from wavestack.device import available, round_products
from wavestack.params import Parameters
from wavestack.profiling.modes import make
from wavestack.profiling.peak import matrix_peak
from wavestack.provenance import machine
from wavestack.reading import load
from wavestack.training.checkpoint import Architecture

WARM_UP = 2
PRECISION = "bfloat16"


def measure(parameters: Parameters, spec: str, rows: int, length: int, repeats: int) -> dict[str, Any]:
    """Seconds of some steps, and the kernels of one more."""
    study = parameters.profile.studies.lengths
    if study is None:
        raise ValueError(f"{parameters.name} has no studies.lengths, at whose budget models are built; name a profile that has one")
    budget = parameters.profile.budgets[study.budget].model_copy(update={"context": length})
    model = Architecture(parameters.specs[spec], budget, study.vocabulary).build()
    device = available("cuda")
    round_products(device, PRECISION)
    model.to(device)
    call = make("training", model, torch.randint(study.vocabulary, (rows, length + 1), device=device), PRECISION, compile=False)
    seconds = []
    for _ in range(WARM_UP + repeats):
        torch.cuda.synchronize()
        started = time.perf_counter()
        call.run()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        call.run()
        torch.cuda.synchronize()
    kernels = sorted(
        (event for event in profiler.key_averages() if event.self_device_time_total > 0), key=lambda e: -e.self_device_time_total
    )
    flops, peak = 3 * rows * model.flops(length), matrix_peak(device, PRECISION, study.threads)
    return {
        "spec": spec,
        "machine": torch.cuda.get_device_name(),
        "rows": rows,
        "length": length,
        "parameters": model.parameter_counts()[0],
        "seconds": seconds[WARM_UP:],
        "gpu_seconds": sum(kernel.self_device_time_total for kernel in kernels) / 1e6,
        "launches": sum(kernel.count for kernel in kernels),
        "flops": flops,
        "matrix_peak": peak,
        "share_of_peak": flops / median(seconds[WARM_UP:]) / peak,
        "kernels": [
            {"name": kernel.key, "milliseconds": kernel.self_device_time_total / 1000, "launches": kernel.count} for kernel in kernels
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*", metavar="SPEC", default=["wavestack", "transformer"])
    parser.add_argument("--params", type=Path, default=Path("params/gpu.yaml"))
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--reports", type=Path, default=Path("reports/gpu/steps"))
    options = parser.parse_args()
    parameters = load(options.params)
    for spec in options.specs:
        if spec not in parameters.specs:
            raise ValueError(f"'{spec}' is no model spec of {options.params}; known: {', '.join(parameters.specs)}")
        found = measure(parameters, spec, options.rows, options.length, options.repeats)
        write_json(options.reports / f"{spec}.json", {**found, "versions": machine()["versions"]})
        print(f"{spec}: {median(found['seconds']) * 1000:.0f} ms a step, {found['share_of_peak']:.1%} of the matrix peak")
        for kernel in found["kernels"][:20]:
            print(f"  {kernel['milliseconds']:8.2f} ms {kernel['launches']:5} {kernel['name'][:100]}")


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        raise SystemExit(f"step: {error}") from None
