"""What a person asks of `fourreal train` (`config`, `groups`), its checks, and what follows for a worker (`stage`)."""
