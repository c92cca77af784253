"""UniProt's downloads to a store on disk."""
