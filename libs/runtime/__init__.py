"""What every process needs: settings, logging, metrics, health, signals, tracing."""
