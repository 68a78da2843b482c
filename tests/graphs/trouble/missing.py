"""A graph whose package is not installed."""

from a_package_that_nobody_has import graph  # noqa: F401
