package reader

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// current is the file that a logger writes.
const current = "current"

// rotated says whether a name is that of a finished log, and when it was finished:
// @, a label of 24 digits, .s or .u, and perhaps the name of a compression.
func rotated(name string) (end int64, ok bool) {
	if len(name) < 27 || name[0] != '@' || name[25] != '.' || name[26] != 's' && name[26] != 'u' {
		return 0, false
	}
	if rest := name[27:]; rest != "" && !slices.Contains(suffixes, rest) {
		return 0, false
	}
	for i := 1; i < 25; i++ {
		if digits[name[i]] == 0 {
			return 0, false
		}
	}
	if end, _ = parseTAI([]byte(name[:25])); end == noTime { // a clock before 1970, or far beyond
		end = 0
	}
	return end, true
}

// suffixes are those that a packed log may have besides.
var suffixes = []string{".gz", ".xz", ".zst", ".bz2", ".lz4"}

// magics are how packed files begin. A processor's file has no other name than that of
// the log, so only its contents tell.
var magics = []struct{ begin, program string }{
	{"\x1f\x8b", "gzip"},
	{"\xfd7zXZ\x00", "xz"},
	{"\x28\xb5\x2f\xfd", "zstd"},
	{"BZh", "bzip2"},
	{"\x04\x22\x4d\x18", "lz4"},
}

// packedBy is the program that unpacks what begins so, "" for plain text.
func packedBy(begin []byte) string {
	for _, m := range magics {
		if bytes.HasPrefix(begin, []byte(m.begin)) {
			return m.program
		}
	}
	return ""
}

// listFiles are the finished logs of a directory, in the order in which they were.
// One that is there in two states, .u and .s, is named once.
func listFiles(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var names []string
	for {
		some, err := d.Readdirnames(1000)
		for _, name := range some {
			if _, ok := rotated(name); ok {
				names = append(names, name)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	return slices.CompactFunc(names, func(a, b string) bool { return a[:25] == b[:25] }), nil
}

// survey opens current and lists the finished logs that were there before it; opened is
// called when current is open. Where a logger renames current before the list is complete,
// name is what that file is called now, and files that were finished after it are left to the
// next list: those before it had been there when it was opened or, where that is not known,
// have a lower name.
func survey(dir string, opened func()) (names []string, now *os.File, name string, err error) {
	var before []string // what was listed before current was opened
	for try := range 100 {
		now, err = openFile(dir + "/" + current)
		if err != nil && !os.IsNotExist(err) {
			return nil, nil, "", err
		}
		if now != nil {
			opened()
		}
		if names, err = listFiles(dir); err != nil {
			break
		}
		switch {
		case now == nil:
			_, err := os.Lstat(dir + "/" + current)
			if os.IsNotExist(err) && try > 0 && slices.Equal(names, before) {
				return names, nil, "", nil
			}
		case isAt(now, dir+"/"+current):
			return names, now, "", nil
		default:
			if i := indexOf(now, dir, names); i >= 0 && try > 0 {
				name = names[i]
				return slices.DeleteFunc(names, func(other string) bool {
					return other >= name && !holds(before, other)
				}), now, name, nil
			}
			now.Close()
			now = nil
		}
		before = names
	}
	if now != nil {
		now.Close()
	}
	return names, nil, "", err
}

// holds says whether a finished log is in a sorted list, in whichever state it was then.
func holds(names []string, name string) bool {
	_, ok := slices.BinarySearchFunc(names, name[:25], func(one, label string) int { return strings.Compare(one[:25], label) })
	return ok
}

// indexOf is which of the finished logs f is, -1 for none.
func indexOf(f *os.File, dir string, names []string) int {
	for i := len(names) - 1; i >= 0; i-- {
		if isAt(f, dir+"/"+names[i]) {
			return i
		}
	}
	return -1
}

// openFile opens a file. What is none is not opened: whom a log belongs to may put anything
// there, such as a FIFO, for which its reader would wait, or a link to a device.
func openFile(path string) (*os.File, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return nil, cmp.Or(err, errNoFile)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() { // it was replaced meanwhile
		f.Close()
		return nil, cmp.Or(err, errNoFile)
	}
	return f, nil
}

var errNoFile = errors.New("not a regular file")

// isAt says whether f is what path names.
func isAt(f *os.File, path string) bool {
	here, err1 := f.Stat()
	there, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(here, there)
}

// openFinished opens a finished log, which a processor may have given the other
// suffix meanwhile.
func openFinished(dir, name string) (*os.File, error) {
	f, err := openFile(dir + "/" + name)
	if !os.IsNotExist(err) {
		return f, err
	}
	names, _ := listFiles(dir)
	for _, other := range names {
		if other[:25] == name[:25] {
			return openFile(dir + "/" + other)
		}
	}
	return nil, err
}

// endOf is when a file was finished, as far as its name or its time of change says.
func endOf(name string, f *os.File) int64 {
	if end, ok := rotated(name); ok {
		return end
	}
	if info, err := f.Stat(); err == nil {
		return info.ModTime().UnixNano()
	}
	return time.Now().UnixNano()
}
