"""What `fourreal study` is made of: its settings, the jobs that it starts, its scores, and what it shows."""
