"""One script a rival, each in an environment of its own: its header pins what it needs, uv makes the environment."""
