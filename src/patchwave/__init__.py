"""Patchwave: the driver that runs rollouts of the collection patchwave.aws."""
