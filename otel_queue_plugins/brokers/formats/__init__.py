"""How frameworks write their messages: read without trust, and without unpickling anything."""
