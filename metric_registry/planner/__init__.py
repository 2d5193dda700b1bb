"""What a plan costs, told from statistics of the traffic, and how it would cost less."""
