"""The parts of dev/drill."""
