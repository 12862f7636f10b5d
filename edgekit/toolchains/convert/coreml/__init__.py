"""How operators of the hub are written in MIL, one file for each family; `program` puts them together."""
