"""Charge records checked against what they say they are made from, and explained."""
