"""What several formats say in the same words: XML trees, units, OME-XML."""
