"""Probes: small plug-ins that read the machine around bursts. `probe` is their contract, `panel` the set that is read."""
