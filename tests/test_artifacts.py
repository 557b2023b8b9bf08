import json
import subprocess
import sys
import time

import pandas
import pytest

from wavestack.artifacts import append_csv, read_json, write_csv, write_json, write_text, written_atomically


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "a", "old")
    with pytest.raises(RuntimeError), written_atomically(tmp_path / "a") as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_json_is_the_same_bytes_for_the_same_content_and_refuses_nan(tmp_path):
    write_json(tmp_path / "a", {"b": 0.1 + 0.2, "a": "é"})
    write_json(tmp_path / "b", {"a": "é", "b": 0.1 + 0.2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_json(tmp_path / "a")["b"] == 0.1 + 0.2
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a", {"x": float("nan")})
    assert read_json(tmp_path / "a")["a"] == "é"


@pytest.mark.parametrize(
    ("content", "message"), [(None, "does not exist"), (b"{", "is not JSON"), (b"\xff", "is not JSON"), (b"[" * 10**5, "is not JSON")]
)
def test_reading_what_is_not_there_or_broken_names_the_file(tmp_path, content, message):
    if content is not None:
        (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"x\.json {message}"):
        read_json(tmp_path / "x.json")


def test_csv_keeps_every_digit(tmp_path):
    write_csv(tmp_path / "a.csv", [{"x": 0.1 + 0.2, "y": None}], ["x", "y"])
    assert (tmp_path / "a.csv").read_text() == "x,y\n0.30000000000000004,\n"


def test_a_reader_never_sees_half_a_file(tmp_path):
    """A process that writes without end is killed again and again; what stands there is whole each time."""
    script = (
        "import itertools, sys; from wavestack.artifacts import write_json\n"
        "for i in itertools.count(): write_json(sys.argv[1], {'i': i, 'x': ['payload'] * 20000})"
    )
    target = tmp_path / "a.json"
    for delay in (0.01, 0.03, 0.05, 0.07, 0.09):
        target.unlink(missing_ok=True)
        writer = subprocess.Popen([sys.executable, "-c", script, str(target)])
        while not target.exists():
            time.sleep(0.01)
        time.sleep(delay)
        writer.kill()
        writer.wait()
        assert len(json.loads(target.read_text())["x"]) == 20000
    assert target.stat().st_mode & 0o044  # readable for a group


def test_writers_at_the_same_time_append_whole_rows_under_one_heading(tmp_path):
    script = (
        "import sys; from wavestack.artifacts import append_csv\n"
        "for i in range(20): append_csv(sys.argv[1], {'writer': sys.argv[2], 'row': i, 'text': 'a, b'}, ['writer', 'row', 'text'])"
    )
    path = tmp_path / "log" / "rows.csv"
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path), str(name)]) for name in range(4)]
    assert [writer.wait() for writer in writers] == [0] * 4
    table = pandas.read_csv(path)
    assert sorted(zip(table["writer"], table["row"], strict=True)) == [(name, row) for name in range(4) for row in range(20)]
    assert set(table["text"]) == {"a, b"}


def test_a_row_that_does_not_fit_the_table_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ValueError, match=r"a\.csv has other columns than x, z; move it away"):
        append_csv(tmp_path / "a.csv", {"x": 1, "z": 2}, ["x", "z"])
    assert (tmp_path / "a.csv").read_text() == "x,y\n1,2\n"


def test_a_row_for_which_there_is_no_room_leaves_the_table_as_it_was(tmp_path):
    """A file may grow no further than in the middle of the row."""
    append_csv(tmp_path / "a.csv", {"x": 1, "y": "first"}, ["x", "y"])
    before = (tmp_path / "a.csv").read_bytes()
    script = (
        "import resource, sys; from wavestack.artifacts import append_csv\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 4}, resource.RLIM_INFINITY))\n"
        "append_csv(sys.argv[1], {'x': 2, 'y': 'second'}, ['x', 'y'])"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "a.csv"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert (tmp_path / "a.csv").read_bytes() == before
