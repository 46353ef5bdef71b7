"""How a big model is kept and run; off for the tiny one."""
