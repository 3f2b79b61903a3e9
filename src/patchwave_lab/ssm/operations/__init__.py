"""The lab's own operations, one file each: a module here that uses `@operation` is found and served."""

import importlib
import pkgutil

from patchwave_lab.ssm.operations._call import OPERATIONS, Call, Operation

__all__ = ["OPERATIONS", "Call", "Operation"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
