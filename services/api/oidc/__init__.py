"""Signing in at an OpenID provider: settings, the provider, checks of its tokens, and whose account it is."""
