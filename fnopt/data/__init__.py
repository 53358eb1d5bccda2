"""Arrays in memory, batches of a loader, parts of data, and data sets that need no download."""

from fnopt.core.exports import public as _public
from fnopt.data.arrays import Arrays as Arrays
from fnopt.data.austen import Text as Text
from fnopt.data.austen import austen as austen
from fnopt.data.batches import Batches as Batches
from fnopt.data.batches import as_data as as_data
from fnopt.data.digits import digits as digits
from fnopt.data.fashion_mnist import fashion_mnist as fashion_mnist
from fnopt.data.fashion_mnist import pixels as pixels
from fnopt.data.sets import load as load
from fnopt.data.sets import names as names
from fnopt.data.split import split as split
from fnopt.data.tables import breast_cancer as breast_cancer
from fnopt.data.tables import diabetes as diabetes
from fnopt.data.tables import wine as wine

__all__ = _public(globals())  # pyright: ignore[reportUnsupportedDunderAll]
