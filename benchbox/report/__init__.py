"""From records to what people and programs read: console, CSV, Markdown, JSON."""
