"""Tables, a module each: their statements, and what a row means. Nobody else names them in SQL."""
