"""The four services for minutes under load, with two replicas of two of them and restarts under way."""
