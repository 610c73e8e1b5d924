package reader

import (
	"bytes"
	"io"
	"os"
	"slices"
	"time"
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

// survey opens current and lists the finished logs that were there before it. What was
// opened and is current no more when they have been listed is among them in the next list;
// those before it were there all the time, and so in any list.
func survey(dir string) (names []string, now *os.File, err error) {
	for range 100 {
		now, err = os.Open(dir + "/" + current)
		if err != nil && !os.IsNotExist(err) {
			return nil, nil, err
		}
		if names, err = listFiles(dir); err != nil {
			break
		}
		if now != nil && isAt(now, dir+"/"+current) {
			return names, now, nil
		}
		var later []string
		if later, err = listFiles(dir); err != nil {
			break
		}
		if now == nil {
			if _, err := os.Lstat(dir + "/" + current); os.IsNotExist(err) && slices.Equal(names, later) {
				return names, nil, nil
			}
			continue
		}
		for i := len(later) - 1; i >= 0; i-- {
			if isAt(now, dir+"/"+later[i]) {
				return later[:i], now, nil
			}
		}
		now.Close()
		now = nil
	}
	if now != nil {
		now.Close()
	}
	return names, nil, err
}

// isAt says whether f is what path names.
func isAt(f *os.File, path string) bool {
	here, err1 := f.Stat()
	there, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(here, there)
}

// openFinished opens a finished log, which a processor may have given the other
// suffix meanwhile.
func openFinished(dir, name string) (*os.File, error) {
	f, err := os.Open(dir + "/" + name)
	if !os.IsNotExist(err) {
		return f, err
	}
	names, _ := listFiles(dir)
	for _, other := range names {
		if other[:25] == name[:25] {
			return os.Open(dir + "/" + other)
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
