"""Generated parts of the documentation: the picture, the command page and the tables of records."""
