"""The manual's generated pages: made from the declarations, and compared with what is committed."""
