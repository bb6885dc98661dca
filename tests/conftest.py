"""`pytest.approx(x, rel=...)` means relative: without this it would allow 1e-12 besides, more than many a rate is."""

import pytest

type(pytest.approx(1.0)).DEFAULT_ABSOLUTE_TOLERANCE = 0
