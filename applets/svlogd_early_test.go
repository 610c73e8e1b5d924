package applets

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// builtLinks is a PATH with links to the executable that make build makes, which begins with
// what Go's own entry does not have.
func builtLinks(t *testing.T) (path string) {
	t.Helper()
	bin := withLinks(t, built(t))
	os.Chmod(filepath.Dir(bin), 0o755)
	tools, err := links() // of the scripts
	if err != nil {
		t.Fatal(err)
	}
	return bin + ":" + tools
}

// TestLogHostBuilt plays the scripts of log services that share a process with the
// executable, where a log service asks for a host before Go's runtime begins.
func TestLogHostBuilt(t *testing.T) {
	bin := builtLinks(t)
	paths, err := filepath.Glob("../testdata/scripts/log-host*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "-security.txt") {
			continue // who tells there what is not true is the test itself, in the place of svlogd
		}
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			script(t, path, bin)
		})
	}
}

// TestLogHostEarly: a svlogd whose log a host takes ends before Go's runtime begins, which
// tells of that where it is asked to.
func TestLogHostEarly(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("there is no such entry for this machine")
	}
	path := filepath.Join(t.TempDir(), "early")
	if err := os.WriteFile(path, []byte(`
soon() { n=0; until "$@"; do n=$((n+1)); [ $n -lt 400 ] || { echo "never: $*; $(cat err)"; exit 1; }; sleep .05; done; }
for s in first second; do
	mkdir -p tree/$s/log/main; cp run tree/$s/; cp logger tree/$s/log/run
	chmod +x tree/$s/run tree/$s/log/run
	[ "${P-}" ] || { runsvdir tree 2>err & P=$!; }
	soon grep -q begin tree/$s/log/main/current
done
test "$(cat tree/first/log/supervise/pid)" = "$(cat tree/second/log/supervise/pid)"
grep -q '^init ' tree/first/log/trace
test ! -s tree/second/log/trace
kill -HUP $P
-- run --
#!/bin/sh
echo begin
exec sleep 1000
-- logger --
#!/bin/sh
GODEBUG=inittrace=1 exec svlogd main 2>trace
`), 0o644); err != nil {
		t.Fatal(err)
	}
	script(t, path, builtLinks(t))
}
