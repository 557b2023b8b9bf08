"""The scripts below benchmarks/ are no package: they find one another because Python puts a script's folder first."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
