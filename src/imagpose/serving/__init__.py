"""What users run: pictures from files, and the demonstration. Imports nothing on its own (see the modules)."""
