"""What `bnn/train.py` is made of: its config, its phases, and what is kept of it."""
