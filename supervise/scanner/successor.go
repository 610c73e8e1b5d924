package scanner

import (
	"encoding/binary"
	"io"
	"math"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// What a program does with signals that it finds blocked decides which may be: one that never
// unblocks TERM and HUP could only be killed.
const (
	heldByAll  = math.MaxUint
	heldByGo   = 1<<(unix.SIGUSR2-1) | 1<<(unix.SIGALRM-1)
	heldByNone = 0
)

// heldFor says which signals the program at path may find blocked, as it begins: all, where
// its first instruction says that it lets them wait until it reads them; those that do not end
// it, where it is another of Go's, so an older runsvdir, since Go's runtime unblocks the others
// as it starts; none, where it may be anybody's. A script is taken to become this program in
// the end.
func heldFor(path string) uintptr {
	f, err := os.Open(path)
	if err != nil {
		return heldByNone
	}
	defer f.Close()
	head := make([]byte, 4096)
	n, _ := f.ReadAt(head, 0)
	text := string(head[:n])
	switch {
	case strings.HasPrefix(text, "#!"), strings.Contains(firstInstructions(f, head[:n]), "keepsblk"):
		return heldByAll
	case strings.Contains(text, "\x04\x00\x00\x00Go\x00\x00"): // a note of Go's linker
		return heldByGo
	}
	return heldByNone
}

// firstInstructions are the bytes with which a program for a 64-bit little-endian machine
// begins to run, as its ELF header, in head, says.
func firstInstructions(f io.ReaderAt, head []byte) string {
	const size, segments, segmentSize = 64, 12, 56
	if len(head) < size+segments*segmentSize || string(head[:6]) != "\x7fELF\x02\x01" {
		return ""
	}
	number := binary.LittleEndian.Uint64
	entry, table := number(head[24:]), number(head[32:])
	if table != size { // as all linkers have it
		return ""
	}
	for i := range min(int(binary.LittleEndian.Uint16(head[56:])), segments) {
		segment := head[size+i*segmentSize:]
		offset, address, length := number(segment[8:]), number(segment[16:]), number(segment[32:])
		if binary.LittleEndian.Uint32(segment) == 1 && entry >= address && entry-address < length { // it is loaded
			var first [12]byte
			f.ReadAt(first[:], int64(entry-address+offset))
			return string(first[:])
		}
	}
	return ""
}
