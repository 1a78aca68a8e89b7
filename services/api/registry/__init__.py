"""What operators configure: stations, sites, tokens, tariffs."""
