"""What a process may still take: the machine's memory, or what is left to the job or the container that it is in."""

from pathlib import Path

import pytest

from wavestack.profiling.peak import available_memory, matrix_peak_alone

MIB = 2**20


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


@pytest.fixture
def system(tmp_path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal:  {9000 * 1024} kB\nMemAvailable: {8000 * 1024} kB\n")
    (tmp_path / "proc/self/cgroup").write_text("0::/job/step\n")
    return tmp_path


def test_a_machine_without_control_groups_gives_what_it_has(system):
    assert available_memory(system) == 8000 * MIB


def test_the_narrowest_of_the_groups_around_a_process_counts_and_its_cached_files_do_not(system):
    groups = system / "sys/fs/cgroup"
    group(groups / "job/step", memory__max="max", memory__current=300 * MIB, memory__stat="anon 7\ninactive_file 9")
    group(groups / "job", memory__max=1000 * MIB, memory__current=500 * MIB, memory__stat=f"anon 7\ninactive_file {200 * MIB}")
    assert available_memory(system) == 700 * MIB


def test_groups_of_the_first_version(system):
    (system / "proc/self/cgroup").write_text("5:cpu,cpuacct:/elsewhere\n4:memory:/slurm/job\n")
    files = {"memory__usage_in_bytes": 100 * MIB, "memory__stat": f"total_inactive_file {50 * MIB}"}
    group(system / "sys/fs/cgroup/memory/slurm/job", memory__limit_in_bytes=600 * MIB, **files)
    group(system / "sys/fs/cgroup/memory/slurm", memory__limit_in_bytes=2**63 - 4096, **files)  # none
    assert available_memory(system) == 550 * MIB


def test_a_container_whose_own_group_is_mounted_at_the_top(system):
    (system / "proc/self/cgroup").write_text("4:memory:/docker/5e5510\n")
    files = {"memory__usage_in_bytes": 100 * MIB, "memory__stat": "total_inactive_file 0"}
    group(system / "sys/fs/cgroup/memory", memory__limit_in_bytes=600 * MIB, **files)
    assert available_memory(system) == 500 * MIB


def test_a_system_that_does_not_say(tmp_path):
    assert available_memory(tmp_path) is None


def test_this_machine_says():
    found = available_memory()
    assert found is None or found > 100 * MIB


def test_the_matrix_peak_is_measured_elsewhere():
    assert matrix_peak_alone("cpu", "float32", 1, timeout=120) > 1e8
    assert matrix_peak_alone("cpu", "float33", 1, timeout=120) is None
    assert matrix_peak_alone("cpu", "float32", 1, timeout=0.01) is None
