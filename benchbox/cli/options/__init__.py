"""Options of the commands, each declared once, in groups that are the panels of the help."""
