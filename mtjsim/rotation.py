"""The rotation vector of the torque, W of `torques.py`: one function for every solver."""

from typing import Any

from numba import njit


@njit(inline="always")
def rotation(
    x: Any, y: Any, z: Any, Bx: Any, By: Any, Bz: Any, a: Any, px: Any, py: Any, pz: Any, alpha: Any, beta: Any
) -> Any:
    """Return (W_x, W_y, W_z) of `torques.py` [T]; m = (x, y, z), B and a [T] are those at m."""
    along = (beta - alpha) * a
    across = a + alpha * beta * a
    ex = alpha * Bx + across * px
    ey = alpha * By + across * py
    ez = alpha * Bz + across * pz
    Wx = Bx + along * px + (y * ez - z * ey)
    Wy = By + along * py + (z * ex - x * ez)
    Wz = Bz + along * pz + (x * ey - y * ex)
    return Wx, Wy, Wz


@njit(inline="always")
def axial_rotation(x: Any, y: Any, Bz: Any, a: Any, pz: Any, alpha: Any, beta: Any) -> Any:
    """Return the same as `rotation` [T], for a field and a polarizer along z."""
    along = (beta - alpha) * a
    across = a + alpha * beta * a
    turns = alpha * Bz + across * pz
    return turns * y, -turns * x, Bz + along * pz
