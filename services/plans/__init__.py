"""Plans: the ledger of each driver group's monthly bundle, and the monthly fees."""
