package applets

import (
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
)

// raceful says whether this binary was made for the race detector.
func raceful() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// racer is a process with a data race.
func racer([]string) int {
	n, done := 0, make(chan bool)
	go func() { n++; close(done) }()
	n++
	<-done
	return n
}

// TestRaceReports: a race in a process that nobody listens to fails the test that
// has set gorace for it, or else the whole run.
func TestRaceReports(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if where := os.Getenv("RUNITBOX_PLANTED_RACE"); where != "" { // the run that is to fail
		cmd := &exec.Cmd{Path: self, Args: []string{"racer"}, Env: os.Environ()}
		if where == "test" {
			cmd.Env = append(cmd.Env, gorace(t))
		}
		cmd.Run()
		return
	}
	if !raceful() {
		return // go test says nothing of races then, and make test says so
	}
	for where, want := range map[string]string{"test": "--- FAIL: TestRaceReports", "run": "\nPASS\n"} {
		cmd := exec.Command(self, "-test.run=^TestRaceReports$", "-test.v")
		cmd.Env = append(os.Environ(), "RUNITBOX_PLANTED_RACE="+where)
		out, err := cmd.CombinedOutput()
		text := string(out)
		if err == nil || !strings.Contains(text, want) || strings.Count(text, "WARNING: DATA RACE") != 1 || !strings.Contains(text, "applets.racer") {
			t.Errorf("a race in a process of the %s: %v, want a failure with the report:\n%s", where, err, text)
		}
	}
}
