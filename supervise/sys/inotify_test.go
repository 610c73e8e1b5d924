package sys

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// encoded is an event as inotify(7) has it: four words, then the name with NULs behind it.
func encoded(watch int32, mask uint32, name string, room int) []byte {
	b := binary.NativeEndian.AppendUint32(nil, uint32(watch))
	b = binary.NativeEndian.AppendUint32(b, mask)
	b = binary.NativeEndian.AppendUint32(b, 0) // the cookie
	b = binary.NativeEndian.AppendUint32(b, uint32(room))
	return append(append(b, name...), make([]byte, room-len(name))...)
}

func TestInotifyEvents(t *testing.T) {
	b := append(encoded(7, 0x100, "web", 16), encoded(-1, 0x4000, "", 0)...)
	b = append(b, encoded(8, 0x8000, "0123456789abcdef", 32)...)
	type event struct {
		Watch int32
		Mask  uint32
		Name  string
	}
	var got []event
	for ev := range InotifyEvents(append(b, 1, 2, 3)) { // what is cut short is none
		got = append(got, event{ev.Watch, ev.Mask, string(ev.Name)})
	}
	if d := cmp.Diff([]event{{7, 0x100, "web"}, {-1, 0x4000, ""}, {8, 0x8000, "0123456789abcdef"}}, got); d != "" {
		t.Error(d)
	}
}
