"""Measures the REST surface; see `run.py`."""

import sys

import cyclopts

from tests.bench.rest.mixed.run import main

sys.exit(cyclopts.run(main))
