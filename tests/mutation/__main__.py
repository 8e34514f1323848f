"""Plants bugs and shows that tests find them; see `plant.py`."""

import sys

from tests.mutation.plant import main

sys.exit(main(sys.argv[1:]))
