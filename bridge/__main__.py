"""`python -m bridge` prints the version and the map of the package; the command line is `mtj-bnn`."""

import bridge

if __name__ == "__main__":
    print(f"bridge {bridge.__version__}\n\n{bridge.__doc__}\nPublic names: {', '.join(bridge.__all__)}")
    print("\nThe command line is mtj-bnn, or python -m bnn.")
