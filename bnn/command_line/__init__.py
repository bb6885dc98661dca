"""What people type: one file a verb; `bnn/cli.py` knows them all."""
