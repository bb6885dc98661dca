"""The Fokker-Planck equation of one junction, solved: probabilities without sampling.

Read `reduced.py` first: the axisymmetric equation and its symbols, which two independent methods solve.

writes     `spectral.py` polynomials behind an absorbing wall, `waveform.py` their steps along a sampled pulse ·
           `finite_volume.py` a chain without subtractions, on the kernels of `chain.py` · `axial.py` chooses
held bits  `escape.py` quadrature of the escape · `finite_volume.py` again · `axial_hold.py` chooses between the two
off axis   `spherical.py` the full sphere, on `harmonics.py` and `chebyshev.py` · `oblique.py` basis and accuracy
"""
