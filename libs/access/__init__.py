"""Who may do what: roles, what each permits, and in which organisation."""
