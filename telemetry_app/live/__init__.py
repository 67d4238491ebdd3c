"""The live side: positions to everyone who may see them."""
