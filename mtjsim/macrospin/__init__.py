"""Macrospin trajectories: any torque, any pulse, heat included; counted, drawn, or split where errors are rare.

In the order of a write: `start.py` initial law · `time_steps.py` table of steps · `kernels.py` one step ·
`simulate.py` counts and trajectories · `importance.py` and `splitting.py` errors too rare to be counted.
The torque is `mtjsim/torques.py`, which the full-sphere Fokker-Planck solver uses too.
"""
