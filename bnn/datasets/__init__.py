"""What `bnn/data.py` reads: published sets, their formats, and folders of image files."""
