"""What tests and local runs share: real servers on loopback, without Docker."""
