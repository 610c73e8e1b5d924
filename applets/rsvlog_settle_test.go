package applets

import (
	"os"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"runitbox/procenv"
	"runitbox/supervise/loghost"
)

// TestOwnerIdentity: what a core says that a process of root's is when it has become the
// owner of its log is what the kernel says then.
func TestOwnerIdentity(t *testing.T) {
	if os.Geteuid() != 0 {
		skip(t, "another user cannot become one")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{":12345:23456", ":12345:23456:7:100:7:99", ":0:23456:0", ":4294967294:1"} {
		t.Run(who, func(t *testing.T) {
			cmd := &exec.Cmd{Path: exe, Args: []string{"asklogs", "become", who}, Stderr: os.Stderr}
			in, err1 := cmd.StdinPipe()
			out, err2 := cmd.StdoutPipe()
			if err1 != nil || err2 != nil || cmd.Start() != nil {
				t.Fatal(err1, err2)
			}
			defer cmd.Wait()
			defer in.Close()
			tells := func() {
				if n, err := out.Read(make([]byte, 1)); n == 0 {
					t.Fatal(err)
				}
			}
			tells()
			before, _, known := loghost.Identity(cmd.Process.Pid)
			if !known {
				skip(t, "the kernel does not tell, or restricts this process")
			}
			if !loghost.IsOurs(before) {
				t.Error("it is as this process, and not said to be")
			}
			in.Write([]byte("x"))
			tells()
			after, _, known := loghost.Identity(cmd.Process.Pid)
			a, err := procenv.LookUp(who)
			computed := loghost.Owner{UID: a.UID, GID: a.GID, Groups: a.Groups}.Identity(before)
			if diff := cmp.Diff(computed, after); diff != "" || !known || err != nil {
				t.Errorf("known %t, %v (-computed +the kernel's):\n%s", known, err, diff)
			}
			if after == before || loghost.IsOurs(after) {
				t.Error("it is said to be as before, or as this process")
			}
		})
	}
}
