"""`python -m patchwave_lab` is `patchwave lab`."""

from patchwave_lab.cli import main

main()
