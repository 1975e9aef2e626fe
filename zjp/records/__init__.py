"""Jobs that were: the records' protocol, its stores, and the outbox that fills them."""
