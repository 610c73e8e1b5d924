package survey

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/supervise/sys"
)

// Cause is one thing that explains the state of a service, or will be in its way.
type Cause struct {
	Code string // for programs; it does not change
	Text string // for people
	Mend string // what to do about it, where that can be said
}

// Program says why a program of a service directory, such as run, cannot be executed.
// There is nothing where it can be, as far as that can be seen.
func Program(dir, name string) []Cause {
	path := dir + "/" + name
	var st unix.Stat_t
	switch err := unix.Stat(path, &st); {
	case errors.Is(err, unix.ENOENT):
		if target, err := os.Readlink(path); err == nil {
			return []Cause{{"dangling-" + name, "./" + name + " is a link to " + target + ", which does not exist", ""}}
		}
		return []Cause{{"no-" + name, "there is no ./" + name, "write " + path}}
	case err != nil:
		return []Cause{cannotLook("./"+name, err)}
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return []Cause{{"is-a-directory", "./" + name + " is a directory", ""}}
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return []Cause{{"not-a-file", "./" + name + " is no regular file", ""}}
	case st.Mode&0o111 == 0:
		return []Cause{{"not-executable", "./" + name + " is not executable", "chmod +x " + path}}
	}
	if noExec(path) {
		return []Cause{{"noexec", "./" + name + " is on a file system that is mounted noexec", "mount it with exec, or move the service directory"}}
	}
	head, err := sys.Slurp(unix.AT_FDCWD, path, 4096)
	if err != nil {
		return []Cause{cannotLook("./"+name, err)}
	}
	return format(dir, name, head)
}

// cannotLook tells that something could not be looked at, which is not that it is absent.
func cannotLook(what string, err error) Cause {
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return Cause{"no-permission", "you may not look at " + what, "ask as root"}
	}
	return Cause{"unreadable", what + " cannot be read: " + err.Error(), ""}
}

// noExec says whether a file is on a file system from which nothing is executed.
func noExec(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0
}

// format says what is wrong with the beginning of a program.
func format(dir, name string, head []byte) []Cause {
	path := dir + "/" + name
	switch {
	case len(head) == 0:
		return []Cause{{"empty", "./" + name + " is empty", ""}}
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return elf(name, head)
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		return []Cause{{"byte-order-mark", "./" + name + " begins with a byte order mark, so that its #! is not seen", "sed -i '1s/^\\xef\\xbb\\xbf//' " + path}}
	case !bytes.HasPrefix(head, []byte("#!")):
		return []Cause{{"no-interpreter-line", "./" + name + " is neither a program nor a script with #! in its first line", "put #!/bin/sh into its first line"}}
	}
	line, _, _ := bytes.Cut(head[2:], []byte("\n"))
	if bytes.HasSuffix(line, []byte("\r")) {
		return []Cause{{"crlf", "./" + name + " has the line ends of Windows: its interpreter is looked for with a carriage return behind its name", "sed -i 's/\\r$//' " + path}}
	}
	words := strings.Fields(string(line))
	if len(words) == 0 {
		return []Cause{{"no-interpreter-line", "./" + name + " names no interpreter behind its #!", "put #!/bin/sh into its first line"}}
	}
	return interpreter(dir, name, words)
}

// interpreter says what is wrong with a script's interpreter and its argument.
func interpreter(dir, name string, words []string) []Cause {
	missing := func(what string) []Cause {
		return []Cause{{"missing-interpreter", "the interpreter of ./" + name + " does not exist: " + what, "install it, or correct the first line of " + dir + "/" + name}}
	}
	at := words[0]
	if !filepath.IsAbs(at) {
		at = dir + "/" + at
	}
	var st unix.Stat_t
	switch err := unix.Stat(at, &st); {
	case err == unix.ENOENT || err == unix.ENOTDIR:
		return missing(words[0])
	case err != nil:
		return nil
	case st.Mode&unix.S_IFMT == unix.S_IFDIR || st.Mode&0o111 == 0:
		return []Cause{{"interpreter-not-executable", "the interpreter of ./" + name + " is not executable: " + words[0], ""}}
	case noExec(at):
		return []Cause{{"noexec", "the interpreter of ./" + name + ", " + words[0] + ", is on a file system that is mounted noexec", ""}}
	}
	if filepath.Base(words[0]) == "env" && len(words) > 1 {
		for _, word := range words[1:] {
			if word[0] == '-' || strings.Contains(word, "=") {
				continue
			}
			if !strings.Contains(word, "/") && !inPath(word) {
				return missing(word + ", which env looks for in PATH")
			}
			break
		}
	}
	return nil
}

// inPath says whether a program is where a service would find it.
func inPath(program string) bool {
	list := os.Getenv("PATH") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, dir := range filepath.SplitList(list) {
		if unix.Access(dir+"/"+program, unix.X_OK) == nil {
			return true
		}
	}
	return false
}

// machines are the numbers in ELF files of what this machine's kernel executes: its own
// and the smaller one's.
func machines() []uint16 {
	return map[string][]uint16{
		"amd64": {62, 3}, "386": {3}, "arm64": {183, 40}, "arm": {40}, "riscv64": {243}, "ppc64le": {21}, "ppc64": {21, 20},
		"s390x": {22}, "loong64": {258}, "mips": {8}, "mipsle": {8}, "mips64": {8}, "mips64le": {8},
	}[runtime.GOARCH]
}

// elf says what is wrong with a compiled program.
func elf(name string, head []byte) []Cause {
	if len(head) < 64 {
		return []Cause{{"truncated", "./" + name + " is cut short", ""}}
	}
	var order binary.ByteOrder = binary.LittleEndian
	if head[5] == 2 {
		order = binary.BigEndian
	}
	machine, known := order.Uint16(head[18:]), machines()
	fits := len(known) == 0
	for _, m := range known {
		fits = fits || m == machine
	}
	if !fits && !emulates() {
		return []Cause{{"wrong-machine", "./" + name + " is a program for another machine", "install the one that is made for " + runtime.GOARCH}}
	}
	if loader := loaderOf(head, order); loader != "" {
		if _, err := os.Stat(loader); os.IsNotExist(err) {
			return []Cause{{"missing-loader", "./" + name + " needs the loader " + loader + ", which does not exist", "install the C library that it was built with"}}
		}
	}
	return nil
}

// emulates says whether the kernel was told to execute programs of other machines.
func emulates() bool {
	entries, _ := sys.ReadDir("/proc/sys/fs/binfmt_misc")
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "qemu") {
			return true
		}
	}
	return false
}

// loaderOf is the loader that a program of 64 bits names, as far as it stands in head.
func loaderOf(head []byte, order binary.ByteOrder) string {
	if head[4] != 2 {
		return ""
	}
	at, size, count := order.Uint64(head[32:]), uint64(order.Uint16(head[54:])), uint64(order.Uint16(head[56:]))
	for i := range count {
		entry := at + i*size
		if size < 56 || entry > uint64(len(head)) || uint64(len(head))-entry < 56 {
			return ""
		}
		if order.Uint32(head[entry:]) != 3 { // PT_INTERP
			continue
		}
		from, length := order.Uint64(head[entry+8:]), order.Uint64(head[entry+32:])
		if from > uint64(len(head)) || length > uint64(len(head))-from {
			return ""
		}
		return strings.TrimRight(string(head[from:from+length]), "\x00")
	}
	return ""
}
