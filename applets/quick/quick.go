//go:build amd64 || arm64

package quick

import "unsafe" // also to link by name

// These are os.Args, the environment and a system call, without packages os and syscall.
//
//go:linkname args os.runtime_args
func args() []string

//go:linkname environ syscall.runtime_envs
func environ() []string

//go:linkname call syscall.RawSyscall6
func call(number, a, b, c, d, e, f uintptr) (result, second, errno uintptr)

// What the system calls take, as in the kernel's headers. An errno is small.
const (
	atCWD     = ^uintptr(99)
	writeOnly = 0o1
	nonBlock  = 0o4000
	closeExec = 0o2000000
	onlyPath  = 0o10000000
	notThere  = 2 // ENOENT
)

func init() {
	names := services(args())
	if len(names) == 0 {
		return
	}
	var now [2]int64
	if _, _, errno := call(sysClockGettime, 0, uintptr(unsafe.Pointer(&now)), 0, 0, 0, 0); errno != 0 {
		return
	}
	var text []byte
	for _, name := range names {
		var ok bool
		if text, ok = appendStatus(text, name, now[0]); !ok {
			return
		}
	}
	for written := 0; written < len(text); {
		n, _, errno := call(sysWrite, 1, uintptr(unsafe.Pointer(&text[written])), uintptr(len(text)-written), 0, 0, 0)
		switch {
		case errno == 0:
			written += int(n)
		case written == 0:
			return // who tells of it, or is ended by a signal, begins anew
		default:
			call(sysExitGroup, 0, 0, 0, 0, 0, 0)
		}
	}
	call(sysExitGroup, 0, 0, 0, 0, 0, 0)
}

// services are those whose status is asked for, none if anything else is.
func services(argv []string) []string {
	if len(argv) > 0 && hasPrefix(base(argv[0]), "runitbox") {
		argv = argv[1:]
	}
	if len(argv) < 3 || base(argv[0]) != "sv" || argv[1] != "status" && argv[1] != "s" {
		return nil
	}
	for _, name := range argv[2:] {
		if name == "" || name[0] == '-' {
			return nil
		}
	}
	return argv[2:]
}

func base(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[i+1:]
		}
	}
	return path
}

func hasPrefix(text, prefix string) bool {
	return len(text) >= len(prefix) && text[:len(prefix)] == prefix
}

// appendStatus appends the lines of a service and its log service, unless anything about
// them is unusual.
func appendStatus(b []byte, name string, now int64) (line []byte, ok bool) {
	path := name
	if name[0] != '/' && name[0] != '.' && name[len(name)-1] != '/' {
		dir := serviceDir()
		if dir == "" {
			return nil, false
		}
		path = dir + "/" + name
	}
	dir, errno := open(atCWD, path+"/.", onlyPath|onlyDirectory)
	if errno != 0 {
		return nil, false
	}
	defer shut(dir)
	s, down, ok := read(dir)
	if !ok {
		return nil, false
	}
	b = AppendLine(b, name, s, down, now)
	log, errno := open(dir, "log/.", onlyPath|onlyDirectory)
	if errno == notThere {
		return append(b, '\n'), true
	}
	if errno != 0 {
		return nil, false
	}
	defer shut(log)
	if s, down, ok = read(log); !ok {
		return nil, false
	}
	return append(AppendLine(append(b, "; "...), "log", s, down, now), '\n'), true
}

// serviceDir is where bare names are looked up.
func serviceDir() string {
	for _, entry := range environ() {
		if hasPrefix(entry, "SVDIR=") {
			return entry[len("SVDIR="):]
		}
	}
	first := ""
	for i, begin := 0, 0; i <= len(Dirs); i++ {
		if i < len(Dirs) && Dirs[i] != ':' {
			continue
		}
		dir := Dirs[begin:i]
		if begin == 0 {
			first = dir
		}
		if has(atCWD, dir) == 0 {
			return dir
		}
		begin = i + 1
	}
	return first
}

// read reads what tells of the service in an open directory. One that rests until it is
// started again may have been given up, which is not told here.
func read(dir uintptr) (s Status, down, ok bool) {
	served, errno := open(dir, "supervise/ok", writeOnly|nonBlock)
	if errno != 0 {
		return s, false, false
	}
	shut(served)
	fd, errno := open(dir, "supervise/status", nonBlock)
	if errno != 0 {
		return s, false, false
	}
	var b [20]byte
	n, _, errno := call(sysRead, fd, uintptr(unsafe.Pointer(&b)), uintptr(len(b)), 0, 0, 0)
	shut(fd)
	if errno != 0 || n != uintptr(len(b)) {
		return s, false, false
	}
	const epoch = 1<<62 + 10 // what runit counts as TAI
	s = Status{Since: int64(number(b[:8]) - epoch), PID: uint32(b[12]) | uint32(b[13])<<8 | uint32(b[14])<<16 | uint32(b[15])<<24,
		Paused: b[16] != 0, WantUp: b[17] == 'u', WantDown: b[17] == 'd', Termed: b[18] != 0, State: b[19]}
	if int(s.State) >= len(states) || number(b[8:12]) >= 1e9 || s.State == 0 && s.WantUp {
		return s, false, false
	}
	errno = has(dir, "down")
	return s, errno == 0, errno == 0 || errno == notThere
}

// number is what b tells, the highest byte first.
func number(b []byte) (n uint64) {
	for _, digit := range b {
		n = n<<8 | uint64(digit)
	}
	return n
}

func open(at uintptr, name string, flags uintptr) (fd, errno uintptr) {
	path := append([]byte(name), 0)
	fd, _, errno = call(sysOpenat, at, uintptr(unsafe.Pointer(&path[0])), flags|closeExec, 0, 0, 0)
	return fd, errno
}

func has(at uintptr, name string) (errno uintptr) {
	path := append([]byte(name), 0)
	_, _, errno = call(sysFaccessat, at, uintptr(unsafe.Pointer(&path[0])), 0, 0, 0, 0)
	return errno
}

func shut(fd uintptr) { call(sysClose, fd, 0, 0, 0, 0, 0) }
