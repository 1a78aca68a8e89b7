"""`python -m services.simulator`."""

from services.simulator.app import main

if __name__ == "__main__":
    main()
