"""What a run is asked for, the cells that it stands for, and what is fitted for them."""
