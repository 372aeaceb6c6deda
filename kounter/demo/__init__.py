"""The demonstration: a seeded company's feed all the way to a CRM, checked at the end against a reference."""
