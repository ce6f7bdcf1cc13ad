"""Reports of records: tables on the console, CSV, Markdown and JSON, with their sentences."""
