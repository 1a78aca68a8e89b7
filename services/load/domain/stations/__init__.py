"""Stations and their EVSEs, as their sites hear of them."""
