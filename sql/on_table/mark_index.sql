-- Later migrations may drop the index when the schema no longer asks for it.
COMMENT ON INDEX {{ qualified }} IS {{ comment }};
