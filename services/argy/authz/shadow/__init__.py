"""A proposed policy evaluated beside the one in force, on live traffic."""
