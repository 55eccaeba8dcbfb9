"""A partner's integration with the Velvet graph, made of the documentation alone."""
