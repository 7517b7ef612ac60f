"""Tests of the services in a mesh: every process behind an Envoy of its own, as Istio and others set it up."""
