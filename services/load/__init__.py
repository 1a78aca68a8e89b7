"""Load management: what each EVSE draws, and how a site's limit is shared among them."""
