"""What the tests in Python share: processes of the project, ports, certificates."""
