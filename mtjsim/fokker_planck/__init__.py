"""The Fokker-Planck equation of one junction, solved: probabilities that nobody has to count.

Read `reduced.py` first: the axisymmetric equation and its symbols, which two independent roads solve.

writes     `spectral.py` polynomials behind an absorbing wall · `finite_volume.py` a chain on which nothing is
           subtracted · `axial.py` which of the two answers
held bits  `escape.py` quadrature of the escape · `finite_volume.py` again · `axial_hold.py` which of the two answers
off axis   `spherical.py` the full sphere, on `harmonics.py` and `chebyshev.py` · `oblique.py` its front
"""
