"""`make hostile`: upstreams that send rubbish as fast as they can, beside an honest one."""
