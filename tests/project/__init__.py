"""The project as a whole: its style, its plan, its documents, its bundle."""
