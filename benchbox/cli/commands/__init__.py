"""Commands and their options; each hands them to a module that is imported only then."""
