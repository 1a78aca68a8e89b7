"""What a virtual charger knows without a network: meters, cars, power, charging profiles, plans, queues."""
