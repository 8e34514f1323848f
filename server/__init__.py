"""Tasks and sockets: carries out what the rules decide, and opens and closes the house."""
