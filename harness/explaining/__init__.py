"""Where the time of an inference goes, layer by layer, and where two artifacts of one backbone part."""
