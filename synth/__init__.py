"""Annotated images of people in beds, as one particular camera would see them."""
