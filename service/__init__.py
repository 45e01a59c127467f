"""Where and when: the door, the inbox, the journal, the jobs, the deliveries and the commands."""
