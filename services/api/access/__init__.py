"""Who may do what: accounts of people, keys of programs, sign-ins."""
