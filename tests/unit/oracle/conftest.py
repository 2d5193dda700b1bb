"""Makes `oracle` and `demo`, which live beside the tests and outside the product, importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
