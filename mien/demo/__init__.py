"""``make demo``: real photos through a real platform, start to finish, with a picture of the outcome."""
