"""Macrospin trajectories: any torque, any pulse, heat included; counted, drawn, or split where errors are rare.

In the order of a write: `start.py` where it starts · `time_steps.py` how it is cut into steps · `kernels.py` the
steps · `simulate.py` counts and pictures · `importance.py` and `splitting.py` errors too rare to be counted.
The torque itself is `torques.py`, one floor up: the full-sphere Fokker-Planck solver has the same.
"""
