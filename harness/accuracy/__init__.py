"""How often a deployed artifact is right: labelled images, what each artifact answers, and what it loses to the baseline."""
