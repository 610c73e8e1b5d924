package state

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRecordBytes(t *testing.T) {
	at := time.Unix(1763850000, 123456789)
	for _, tt := range []struct {
		name string
		rec  Record
		hex  string
		text string
	}{
		{"run", Record{Since: at, PID: 0x01020304, State: Run}, "400000006922371a075bcbf40403020100750001", "run\n"},
		{"all flags", Record{Since: at, PID: 7, State: Run, Paused: true, Termed: true, Want: WantDown}, "400000006922371a075bcbf40700000001640101", "run, paused, got TERM, want down\n"},
		{"exit is told as down in status", Record{Since: at, PID: 7, State: Finish, Want: WantExit}, "400000006922371a075bcbf40700000000640002", "finish, want exit\n"},
		{"once is told as down", Record{Since: at, PID: 7, State: Run, Want: WantOnce}, "400000006922371a075bcbf40700000000640001", "run, want down\n"},
		{"down", Record{Since: at, Want: WantDown}, "400000006922371a075bcbf40000000000640000", "down\n"},
		{"down, exiting", Record{Since: at, Want: WantExit, Paused: true}, "400000006922371a075bcbf40000000001640000", "down, paused\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.hex, hex.EncodeToString(tt.rec.Bytes())); diff != "" {
				t.Errorf("bytes (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.text, tt.rec.Text()); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
			back, err := ParseRecord(tt.rec.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			want := tt.rec
			want.Since = time.Unix(1763850000, 123456500)
			if want.Want != WantUp {
				want.Want = WantDown
			}
			if diff := cmp.Diff(want, back); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
		})
	}
	for _, n := range []int{0, 18, 19, 21} {
		if _, err := ParseRecord(make([]byte, n)); err == nil {
			t.Errorf("%d bytes were accepted", n)
		}
	}
}

func TestWantOf(t *testing.T) {
	for _, w := range []Want{WantUp, WantDown, WantOnce, WantExit} {
		if got, ok := WantOf(w.Command()); !ok || got != w {
			t.Errorf("the command %c gives %v, %v and not %v", w.Command(), got, ok, w)
		}
	}
	for _, b := range []byte{0, 't', 'U', 255} {
		if w, ok := WantOf(b); ok {
			t.Errorf("%q gives the standing order %v", b, w)
		}
	}
}

// What is read as a record is written as one that is read the same.
func FuzzParseRecord(f *testing.F) {
	f.Add(make([]byte, StatusSize))
	f.Add(Record{Since: time.Unix(1763850000, 123456789), PID: 7, State: Run}.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRecord(b)
		if (err == nil) != (len(b) == StatusSize) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err != nil {
			return
		}
		back, err := ParseRecord(r.Bytes())
		if err != nil || back.PID != r.PID || back.Paused != r.Paused || back.Termed != r.Termed || back.State != r.State ||
			back.Since.Unix() != r.Since.Unix() || r.Want != WantUnknown && back.Want != r.Want {
			t.Errorf("%x is read as %+v and written as %+v, %v", b, r, back, err)
		}
	})
}
