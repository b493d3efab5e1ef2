"""From figures with intervals to a decision: limits and their verdicts, targets, and which backbone first."""
