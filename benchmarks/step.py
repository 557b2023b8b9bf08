"""What a training step is made of: its kernels (of a CPU its operators), how often each is launched, and its share of the matrix peak.

    python benchmarks/step.py [SPEC ...] [--params params/gpu.yaml] [--rows 16] [--length 4096] [--reports reports/<profile>/steps]
    python benchmarks/step.py wavestack transformer-heads-64 --params params/findings-cpu.yaml --rows 1 --length 16384

SPEC is a name in the profile's model specs (default: wavestack transformer), built at the budget of the profile's sequence-length study,
and run on the device and in the precision that the profile trains on. Steps of the specs are timed in turn, so that their times compare.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from wavestack.allocation import keep_freed_memory
from wavestack.artifacts import write_json
from wavestack.device import available, round_products
from wavestack.models.language_model import LanguageModel
from wavestack.params import Parameters
from wavestack.profiling.modes import Call, make
from wavestack.profiling.peak import matrix_peak
from wavestack.provenance import machine
from wavestack.reading import load
from wavestack.training.checkpoint import Architecture

WARM_UP = 2


@dataclass
class Step:
    spec: str
    model: LanguageModel
    call: Call
    device: str

    def finish(self) -> None:
        self.call.run()
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self) -> float:
        started = time.perf_counter()
        self.finish()
        return time.perf_counter() - started

    def kernels(self) -> list[dict[str, Any]]:
        """Of one more step, longest first, each with the time that it takes itself."""
        activity = ProfilerActivity.CUDA if self.device == "cuda" else ProfilerActivity.CPU
        with profile(activities=[activity]) as profiler:
            self.finish()
        found = [
            {
                "name": event.key,
                "milliseconds": (event.self_device_time_total if self.device == "cuda" else event.self_cpu_time_total) / 1000,
                "launches": event.count,
            }
            for event in profiler.key_averages()
        ]
        return sorted((kernel for kernel in found if kernel["milliseconds"] > 0), key=lambda kernel: -kernel["milliseconds"])


def build(parameters: Parameters, spec: str, rows: int, length: int) -> Step:
    study = parameters.profile.studies.lengths
    if study is None:
        raise ValueError(f"{parameters.name} has no studies.lengths, at whose budget models are built; name a profile that has one")
    if spec not in parameters.specs:
        raise ValueError(f"'{spec}' is no model spec of {parameters.name}; known: {', '.join(parameters.specs)}")
    training = parameters.profile.training
    device = available(training.device)
    torch.set_num_threads(study.threads)
    round_products(device, training.precision)
    budget = parameters.profile.budgets[study.budget].model_copy(update={"context": length})
    model = Architecture(parameters.specs[spec], budget, study.vocabulary).build().to(device)
    tokens = torch.randint(study.vocabulary, (rows, length + 1), device=device)
    return Step(spec, model, make("training", model, tokens, training.precision, compile=False), device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="*", metavar="SPEC", default=["wavestack", "transformer"])
    parser.add_argument("--params", type=Path, default=Path("params/gpu.yaml"))
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--reports", type=Path, help="a folder; reports/<profile>/steps by default")
    options = parser.parse_args()
    parameters = load(options.params)
    reports = options.reports or Path("reports") / parameters.name / "steps"
    keep_freed_memory()  # as a training does
    steps = [build(parameters, spec, options.rows, options.length) for spec in options.specs]
    rounds = [[step.seconds() for step in steps] for _ in range(WARM_UP + options.repeats)]
    training, device, told = parameters.profile.training, steps[0].device, machine()
    peak = matrix_peak(device, training.precision, torch.get_num_threads())
    for step, seconds in zip(steps, zip(*rounds[WARM_UP:], strict=True), strict=True):
        kernels, flops = step.kernels(), 3 * options.rows * step.model.flops(options.length)
        found = {
            "spec": step.spec,
            "machine": told["machine"]["accelerator" if device == "cuda" else "processor"],
            "threads": torch.get_num_threads(),
            "rows": options.rows,
            "length": options.length,
            "parameters": step.model.parameter_counts()[0],
            "seconds": seconds,
            "kernel_seconds": sum(kernel["milliseconds"] for kernel in kernels) / 1000,
            "launches": sum(kernel["launches"] for kernel in kernels),
            "flops": flops,
            "matrix_peak": peak,
            "share_of_peak": flops / median(seconds) / peak,
            "kernels": kernels,
        }
        write_json(reports / f"{step.spec}.json", {**found, "versions": told["versions"]})
        print(f"{step.spec}: {median(seconds) * 1000:.0f} ms a step, {found['share_of_peak']:.1%} of the matrix peak")
        for kernel in kernels[:20]:
            print(f"  {kernel['milliseconds']:8.2f} ms {kernel['launches']:5} {kernel['name'][:100]}")


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        raise SystemExit(f"step: {error}") from None
