import pytest

from wavestack.operations.snakemake import with_all_cores


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
