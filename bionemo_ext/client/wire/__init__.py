"""Servers: addresses, who they are, protocols, replicas, attempts, deadlines."""
