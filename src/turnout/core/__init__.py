"""Pure decisions: no await, no clock, no chance, no log, no environment. Time and chance are arguments."""
