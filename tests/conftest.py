"""`pytest.approx(x, rel=...)` means relative: without this it would allow 1e-12 besides, more than many a rate is."""

from _pytest.python_api import ApproxScalar

ApproxScalar.DEFAULT_ABSOLUTE_TOLERANCE = 0
