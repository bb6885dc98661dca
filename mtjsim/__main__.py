"""`python -m mtjsim` prints the version and the map of the package; the command line is `mtj-bnn`."""

import mtjsim

if __name__ == "__main__":
    print(f"mtjsim {mtjsim.__version__}\n\n{mtjsim.__doc__}\nPublic names: {', '.join(mtjsim.__all__)}")
    print("\nThe command line is mtj-bnn, or python -m bnn.")
