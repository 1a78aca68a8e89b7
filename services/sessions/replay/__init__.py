"""The log folded again, in memory and beside what is in force: to try changes, and to correct what was wrong."""
