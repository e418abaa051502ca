"""The one exception class of the package."""


class InvalidImageDataError(ValueError):
    """The given bytes or file are not an image that this package can read or write."""
