"""Arrays on the device, shuffling, the bundled set."""

from fnopt.data.digits import digits as digits
