"""Sites, and the plans by which their limits are shared."""
