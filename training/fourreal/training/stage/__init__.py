"""One stage, complete: settings, data and model, as they follow from what was asked for and from what is there."""
