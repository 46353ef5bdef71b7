"""How a model's folder is found, checked and read, before and apart from any lesson."""
