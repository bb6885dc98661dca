"""One write of any cell of a population: the coordinates that decide its error rate, and the direct solve.

In reduced units (`mtjsim.fokker_planck.reduced`) a write depends on thermal stability, drive and characteristic time,
and, where present, on field, TMR, bias and softening of the barrier. The logarithms of these, relative to the nominal
junction, are the *coordinates* x of a cell: `COORDINATES`, time last. Behind a transistor under a voltage the current
follows the load line of the cell's own circuit; then they are `LOAD_LINE_COORDINATES`, see `spread_line.py`.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from bridge.cell.circuit import LoadLine
from bridge.dies.spread_line import NODES, LineShapes, SpreadLine
from mtjsim.checks import Array
from mtjsim.fokker_planck.axial import tail_probability
from mtjsim.fokker_planck.reduced import AxialWrite
from mtjsim.fokker_planck.spectral import COARSE_RAMP_STEPS, one_blas_thread

COORDINATES = ("stability", "drive", "field", "tmr", "bias", "softening", "time")
LOAD_LINE_COORDINATES = (
    "stability",
    *(f"full_{k}" for k in range(len(NODES))),  # drive at NODES under the full voltage
    *(f"lower_{k}" for k in range(len(NODES))),  # under LOWER of it
    "field",
    "tmr",
    "resistance",  # times the unit in which the drives are taken
    "softening",  # a volt's
    "time",
)
SMALLEST_PROBABILITY = 1e-280  # below, the tail's slope is carried on


@dataclass(frozen=True)
class CellWrite:
    """One write of one direction, for every cell of a population: the nominal write and how a cell departs from it.

    Parameters
    ----------
    nominal : AxialWrite
        Of the nominal junction, without ramps and relaxation.
    time : float
        tau_D of the nominal junction [s].
    pulse_width, rise_time, relax_time : float
        [s].
    drive_c2c, pulse_width_c2c : float
        Relative standard deviations from write to write, averaged over in each rate.
    shapes : LineShapes, optional
        Of the load lines, where there are some.
    density : float, optional
        Of the steps of ramps, as in `tail_probability`.
    """

    nominal: AxialWrite
    time: float
    pulse_width: float
    rise_time: float
    relax_time: float
    drive_c2c: float = 0.0
    pulse_width_c2c: float = 0.0
    shapes: LineShapes | None = None
    density: float | None = None

    @property
    def coarse(self) -> "CellWrite":
        """Return the same with fewer steps in its ramps: good to 1e-4."""
        return replace(self, density=COARSE_RAMP_STEPS)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the coordinates."""
        return LOAD_LINE_COORDINATES if isinstance(self.nominal.conduction, LoadLine) else COORDINATES

    @property
    def shares_solves(self) -> bool:
        """Whether one solve serves all characteristic times: a rectangular pulse, judged at once."""
        return self.rise_time == 0 and self.relax_time == 0

    @property
    def plain(self) -> "CellWrite":
        """Return the same as a rectangular pulse, judged at once, that is the same in each cycle."""
        return replace(self, rise_time=0.0, relax_time=0.0, drive_c2c=0.0, pulse_width_c2c=0.0)

    def log_rates(self, x: Array, log_time: Array) -> Array:
        """Ln WER, direct, at the coordinates `x` (all but time) and each ln(tau_D / nominal); shape of `log_time`."""
        groups = [log_time] if self.shares_solves else list(log_time[:, None])
        return np.concatenate([self._log_rates(x, group) for group in groups])

    def _log_rates(self, x: Array, log_time: Array) -> Array:
        tau = self.time * np.exp(log_time)
        levels, level_weights = _cycles(self.drive_c2c)
        spread, width_weights = _cycles(self.pulse_width_c2c)
        widths = np.maximum(self.pulse_width * spread, self.rise_time) - self.rise_time
        plateaus = (widths[:, None] / tau).ravel()
        terms = []
        for level, weight in zip(levels, level_weights, strict=True):
            write = self.reduced(x, float(tau[0]), float(level))
            log_p = _log_tail(write, plateaus, self.density).reshape(len(widths), len(tau))
            terms.append(log_p + np.log(weight * width_weights)[:, None])
        return np.logaddexp.reduce(np.concatenate(terms), axis=0)

    def reduced(self, x: Array, tau: float, level: float = 1.0) -> AxialWrite:
        """Return the write of a cell in reduced units; `tau` its tau_D [s], `level` the amplitude over its mean."""
        ratio = dict(zip(self.names, np.exp(x).tolist(), strict=False))
        law: Any = self.nominal.conduction
        if isinstance(law, LoadLine):
            assert self.shapes is not None, "a load line has shapes"
            law = SpreadLine.of(law, self.shapes, dict(zip(self.names, x.tolist(), strict=False)), level)
            drive = self.nominal.drive * law.current_of_p
        else:
            drive = self.nominal.drive * ratio["drive"] * level
        if law is not None and not isinstance(law, SpreadLine):
            law = replace(
                law,
                tunnel_magnetoresistance=law.tunnel_magnetoresistance * ratio["tmr"],
                bias=law.bias * ratio["bias"] * level,
                softening=law.softening * ratio["softening"] * level,
            )
        return replace(
            self.nominal,
            thermal_stability=self.nominal.thermal_stability * ratio["stability"],
            drive=drive,
            field=self.nominal.field * ratio["field"],
            rise_time=self.rise_time / tau,
            relax_time=self.relax_time / tau,
            conduction=law,
        )

    def relevant(self, x: Array) -> Array:
        """Return coordinates without the spread of those that do not affect this write."""
        law: Any = self.nominal.conduction
        of_bias = law is None or law.softening == 0
        if isinstance(law, LoadLine):
            one_level = self.plain == self
            silent = {name: one_level for name in self.names if name.startswith("lower")}
            silent |= {name: of_bias for name in ("tmr", "resistance", "softening")}
        else:
            silent = {
                "drive": self.nominal.drive == 0,
                "tmr": law is None or law.tunnel_magnetoresistance == 0,
                "bias": law is None or law.bias == 0,
                "softening": of_bias,
            }
        silent["field"] = self.nominal.field == 0
        x = x.copy()
        x[:, [self.names.index(name) for name, is_silent in silent.items() if is_silent]] = 0.0
        return x

    def __call__(self, x: Array) -> Array:
        """Ln WER of each cell, solved one by one; `x` (n, d) -> (n,), d its coordinates."""
        with one_blas_thread():
            rates = [self.log_rates(cell[:-1], cell[-1:]) for cell in x]
        return np.concatenate(rates) if rates else np.empty(0)


def _cycles(deviation: float, nodes: int = 9) -> tuple[Array, Array]:
    """Return Gauss-Hermite nodes 1 + sd z and weights of a normal with mean 1: exact to 1e-3 up to d ln WER/dz = 3."""
    if deviation == 0:
        return np.ones(1), np.ones(1)
    z, weights = hermegauss(nodes)
    return 1 + deviation * z, weights / weights.sum()


def _log_tail(write: AxialWrite, plateaus: Array, density: float | None) -> Array:
    """Ln WER; where the WER underflows, its tail ln WER = a - b t carried on from where it does not."""
    p = tail_probability(write, plateaus, density=density)
    low = p < SMALLEST_PROBABILITY
    log_p = np.log(np.where(low, 1.0, p))
    if low.any():
        t = plateaus.max() * np.arange(1, 257) / 256
        q = tail_probability(write, t, density=density)
        last = int(np.flatnonzero(q > SMALLEST_PROBABILITY)[-1])
        slope = np.log(q[last] / q[last - 1]) / (t[last] - t[last - 1])
        log_p[low] = np.log(q[last]) + slope * (plateaus[low] - t[last])
    return log_p
