"""The table `positions`: rows and statements, and how they get in through every failure."""
