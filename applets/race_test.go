package applets

import (
	"debug/buildinfo"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// raceful says whether this binary was made for the race detector.
func raceful() bool {
	info, _ := debug.ReadBuildInfo()
	return madeRaceful(info)
}

func madeRaceful(info *debug.BuildInfo) bool {
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
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
	exe, err := raced()
	if err != nil {
		t.Fatal(err)
	}
	if info, err := buildinfo.ReadFile(exe); err != nil || !madeRaceful(info) {
		t.Errorf("what plays the applets is not made for the race detector: %v %v", info, err)
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
