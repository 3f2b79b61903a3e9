"""The lab: an AWS on loopback whose nodes really run what they are told."""
