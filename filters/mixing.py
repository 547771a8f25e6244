"""One 64-bit number to another, so that no bit that goes in can be guessed from what comes out. Needs numpy alone."""

import numpy as np
import numpy.typing as npt

# The constants of the finalizer that Stafford found best and Steele, Lea and Flood use (SplitMix64, OOPSLA 2014).
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)


def mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's output function, a bijection: each bit that goes in flips each that comes out in half of all cases."""
    state = (state ^ state >> np.uint64(30)) * MIX_1
    state = (state ^ state >> np.uint64(27)) * MIX_2
    return state ^ state >> np.uint64(31)
