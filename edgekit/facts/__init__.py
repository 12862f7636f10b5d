"""Raw words of a device in, figures out: one file for each source, no I/O. None where the words are not sure."""
