# Reads what go test has written and names what may be tried once more, alone: a line for
# each failed test that has no failed test below it, with its package and the pattern for
# -run. Most tests here are real processes, and one on a busy machine may wait for its
# turn longer than any limit of a test. Nothing is named where more than a few failed,
# and after a data race, a panic, a timeout or a package that was not built.
/DATA RACE|^panic:|^fatal error:|\[(build|setup) failed\]|^\*\*\* Test killed/ { never = 1 }
/^ *--- FAIL: / { failed[++n] = $3 }
/^FAIL\t/ {
	if (n == from) never = 1 # a package that failed without a test
	for (i = from + 1; i <= n; i++) package[i] = $2
	from = n
}
END {
	for (i = 1; i <= n; i++) {
		leaf = 1
		for (j = 1; j <= n; j++) if (package[i] == package[j] && index(failed[j], failed[i] "/") == 1) leaf = 0
		if (!leaf) continue
		pattern = failed[i]
		gsub(/[][\\.+*?(){}|^$]/, "\\\\&", pattern)
		gsub("/", "$/^", pattern)
		line[++leaves] = package[i] " ^" pattern "$"
	}
	if (never || leaves > 9) exit
	for (i = 1; i <= leaves; i++) print line[i]
}
