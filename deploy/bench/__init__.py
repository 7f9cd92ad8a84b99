"""How fast the real system is: every figure beside a reference measured in the same run."""
