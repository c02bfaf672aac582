"""What makes a data set for others: coarse, with tokens of its own, and no row that stands alone."""
