"""Routes of the NIJA dialect: each calls one service and renders its answer."""
