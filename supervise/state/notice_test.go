package state

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestNoticeTake(t *testing.T) {
	now := time.Unix(1000, 5)
	long := strings.Repeat("a", statusMost-1)
	for _, tt := range []struct {
		name, message string
		before, after Notice
		said          Said
	}{
		{"ready", "READY=1", Notice{}, Notice{}, Said{Ready: true}},
		{"with a text", "READY=1\nSTATUS=at work\n", Notice{}, Notice{Status: "at work"}, Said{Ready: true, Change: true}},
		{"ready with another value is nothing", "READY=0\nREADY\nready=1\nREADY= 1", Notice{}, Notice{}, Said{}},
		{"reads its configuration anew", "RELOADING=1\nMONOTONIC_USEC=5", Notice{}, Notice{Reloading: true}, Said{Change: true}},
		{"and has", "READY=1", Notice{Reloading: true}, Notice{}, Said{Ready: true, Change: true}},
		{"is about to stop", "STOPPING=1", Notice{Status: "x"}, Notice{Status: "x", Stopping: true}, Said{Change: true}},
		{"the same text again", "STATUS=x", Notice{Status: "x"}, Notice{Status: "x"}, Said{}},
		{"no text any more", "STATUS=", Notice{Status: "x"}, Notice{}, Said{Change: true}},
		{"a text that is none", "STATUS=\xff", Notice{Status: "x"}, Notice{Status: "x"}, Said{}},
		{"a long text ends between two characters", "STATUS=" + long + "ä", Notice{}, Notice{Status: long}, Said{Change: true}},
		{"it works", "WATCHDOG=1", Notice{}, Notice{}, Said{Works: true}},
		{"it does not", "WATCHDOG=trigger", Notice{}, Notice{}, Said{Hangs: true}},
		{"another time for that", "WATCHDOG_USEC=1500000", Notice{}, Notice{Watchdog: 1500 * time.Millisecond}, Said{Change: true}},
		{"which is none", "WATCHDOG_USEC=0\nWATCHDOG_USEC=-1\nWATCHDOG_USEC=99999999999999999", Notice{}, Notice{}, Said{}},
		{"it takes longer", "EXTEND_TIMEOUT_USEC=2000000", Notice{}, Notice{Extended: time.Unix(1002, 5)}, Said{Change: true}},
		{"another process", "MAINPID=12", Notice{}, Notice{}, Said{Main: "12"}},
		{"what only the core may note", "HUNG=1\nEXTENDED=1", Notice{}, Notice{}, Said{}},
		{"what is none of these", "FDSTORE=1\nBARRIER=1\n\n=\nX_Y=Z\nERRNO=2", Notice{}, Notice{}, Said{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := tt.before
			said := n.Take(tt.message, now)
			if diff := cmp.Diff(tt.after, n); diff != "" {
				t.Errorf("notice (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.said, said); diff != "" {
				t.Errorf("what is to be done (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNoticeBytes(t *testing.T) {
	all := Notice{"at work = 5", true, true, 2 * time.Second, time.Unix(2, 3), time.Unix(4, 5)}
	const text = "STATUS=at work = 5\nRELOADING=1\nSTOPPING=1\nWATCHDOG_USEC=2000000\nEXTENDED=2000000003\nHUNG=4000000005\n"
	if diff := cmp.Diff(text, string(all.Bytes())); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(all, ParseNotice([]byte(text))); diff != "" {
		t.Errorf("what it tells (-want +got):\n%s", diff)
	}
	if b := (&Notice{}).Bytes(); len(b) != 0 {
		t.Errorf("nothing is told as %q", b)
	}
	if diff := cmp.Diff(Notice{Status: "x"}, ParseNotice([]byte("garbage\nHUNG=x\n\x00\nEXTENDED=\nSTATUS=x\nREADY=1"))); diff != "" {
		t.Errorf("garbage (-want +got):\n%s", diff)
	}
	longest := Notice{strings.Repeat("a", statusMost), true, true, 1 << 60, time.Unix(1<<33, 0), time.Unix(1<<33, 0)}
	if n := len(longest.Bytes()); n > NoticeMost {
		t.Errorf("%d bytes", n)
	}
}
