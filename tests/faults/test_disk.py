"""Full and read-only file systems, real ones: tmpfs, mounted by root."""

import subprocess

import pytest
from victim import RUN


def mounted(folder, options: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def small(half):
    """A project whose trainings write to a disk that is too small."""
    folder = half.folder / "alone"
    mounted(folder, "size=1M")
    yield half
    subprocess.run(["umount", folder], check=True)


def files(folder) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_full_disk_is_an_error_and_with_room_the_rerun_finishes(whole, small, outcomes):
    folder = small.folder / "alone"
    filler = folder / "filler"
    filler.write_bytes(bytes(500_000))
    status, told = small.run(*small.training())
    assert status == 1, told
    assert "No space left on device" in told.strip().splitlines()[-1]
    assert "make room and run it again" in told
    assert "Traceback" not in told
    assert not {name for name in files(folder) if name.endswith(".tmp")}
    assert not {"best.json", "last.json", "training.json"} & files(folder)
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=8M", folder], check=True)
    status, told = small.run(*small.training())
    assert status == 0, told
    for name in ("best.safetensors", "last.safetensors"):
        assert (folder / "data" / name).read_bytes() == (whole.data / "runs" / RUN / name).read_bytes()
    outcomes["full disk", "an error, no half file; with room the same bytes"] += 1


def test_a_read_only_folder_is_one_message(small, outcomes):
    folder = small.folder / "alone"
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    status, told = small.run(*small.training())
    assert status == 1, told
    assert "Read-only file system" in told.strip().splitlines()[-1]
    assert "Traceback" not in told
    assert files(folder) == set()
    outcomes["read-only folder", "an error that names it"] += 1
