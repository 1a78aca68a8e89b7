"""Certificates: what OCSP says of them, and which contract certificates are valid."""
