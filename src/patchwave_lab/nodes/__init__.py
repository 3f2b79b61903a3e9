"""Nodes: Linux namespaces over this machine, and the agent that runs commands in them."""
