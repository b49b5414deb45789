"""The embedded model `pocket`: its language, its data and the recipe that trains it from nothing."""
