import os
import subprocess
import sys
from pathlib import Path

import pytest

from wavestack.operations.snakemake import by_bytes, with_all_cores

SNAKEMAKE = Path(sys.executable).parent / "snakemake"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--cores", "--cores all"),
        ("--cores -n", "--cores all -n"),
        ("-n --cores --configfile x.yaml", "-n --cores all --configfile x.yaml"),
        ("-c", "-c all"),
        ("--cores 2", "--cores 2"),
        ("--cores all", "--cores all"),
        ("--cores=4 -n", "--cores=4 -n"),
        ("-n", "-n"),
        ("", ""),
    ],
)
def test_only_a_bare_cores_is_filled_in(given, meant):
    assert with_all_cores(given.split()) == meant.split()


def test_a_limit_that_is_given_stays():
    assert by_bytes(["-n", "--max-checksum-file-size=2MB"]) == ["-n", "--max-checksum-file-size=2MB"]
    assert by_bytes(["--max-checksum-file-size", "2MB"]) == ["--max-checksum-file-size", "2MB"]


def test_a_text_with_a_new_time_makes_nothing_again_and_one_with_other_bytes_does(tmp_path):
    (tmp_path / "Snakefile").write_text('rule all:\n    input: "text"\n    output: "words"\n    shell: "wc -w < text > words"\n')
    text = tmp_path / "text"
    text.write_text("one two " * 250_000)  # 2 MB: Snakemake by itself compares the bytes of up to 1 MB
    made = tmp_path / "words"

    def words_of_a_newer_text() -> str:
        an_hour_ago = made.stat().st_mtime - 3600
        os.utime(made, (an_hour_ago, an_hour_ago))
        subprocess.run([SNAKEMAKE, "--cores", "1"], cwd=tmp_path, check=True, capture_output=True)
        return f"{made.read_text().strip()}{' again' if made.stat().st_mtime > an_hour_ago else ''}"

    subprocess.run([SNAKEMAKE, "--cores", "1"], cwd=tmp_path, check=True, capture_output=True)
    assert words_of_a_newer_text() == "500000"
    text.write_text("one two " * 125_000 + "one,two " * 125_000)  # as many bytes
    assert words_of_a_newer_text() == "375000 again"
