"""An example of an area."""
