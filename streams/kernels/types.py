"""Types of kernels' arguments, for readers; the signature given to `kernel` is what is enforced."""

from typing import Any, TypeAlias

Column: TypeAlias = Any
"""A NumPy array whose element type and shape the kernel's signature states."""

Word: TypeAlias = Any
"""An integer or double of the machine, of the width that the kernel's signature states."""
