"""What a person asks of `fourreal train`, as plain data: the fields by group, and what is wrong with them alone."""
