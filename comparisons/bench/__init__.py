"""Times the engine against the plain loop, and compares their numbers: the library behind `compare bench`."""
