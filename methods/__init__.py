"""The methods that come with the program: one file each, found by the file's name."""
