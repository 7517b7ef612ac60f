"""Tests of the services in a mesh: every process behind an Envoy of its own, as Istio and others set it up."""

import unittest

try:
    import envoy  # noqa: F401
except ModuleNotFoundError:
    raise unittest.SkipTest("there is an Envoy for Linux on x86-64 alone") from None
