//go:build (amd64 || arm64) && !slim

package loghost

import (
	"unsafe" // also to link by name

	"golang.org/x/sys/unix"
)

// A svlogd whose log another takes does nothing but ask for that, nor does a rsvlog for which
// the core settles where that is, and Go's runtime takes longer to begin than all the rest
// does. So it asks before: with the very first
// instructions of the process (the entry, in assembly, of which the linker is told), and
// ends there if it may. In every other case the runtime begins, and AskCore, or Settled, goes
// on with what has come of it, or asks itself.
//
// Here is no runtime: nothing can be allocated, no stack grows, and a mistake has nobody
// to be told to. So all memory is in variables of the package, and each function is nosplit.

// early is what has come of it, and its memory.
var early struct {
	fd      int32 // the connection; 0: nothing was asked
	settles bool  // the core was asked to settle what rsvlog does
	peer    unix.Ucred
	answer  [headSize]byte // its first is 0 where there is none
	soon    bool           // it was told that there will be one

	run     [256]byte // where ./run leads
	address [256]byte // with its family before it
	end     uint8     // of that
	head    [headSize]byte
	parts   [2]unix.Iovec
	rights  struct {
		unix.Cmsghdr
		fds [3]int32
	}
	message unix.Msghdr
	time    unix.Timeval
	size    uint32 // of peer
}

//go:linkname call syscall.RawSyscall6
func call(number, a, b, c, d, e, f uintptr) (result, second, errno uintptr)

// askEarly is called with the place where the kernel has put how many arguments there are,
// where each is, and behind a 0 where each string of the environment is.
//
//lint:ignore U1000 the assembly calls it
//go:nosplit
func askEarly(stack unsafe.Pointer) {
	argc := *(*uintptr)(stack)
	kind := asks(stack, argc)
	if kind == 0 {
		return
	}
	begin, last := text(stack, 2), text(stack, argc)
	env := uintptr(0)
	if argc == 1 { // the environment begins
		begin, last = text(stack, 3), text(stack, 3)
	}
	for next := text(stack, argc+2); next != nil; next = text(stack, argc+2+env) {
		last = next
		env++
	}
	size := uintptr(0)
	if begin != nil {
		size = uintptr(last) - uintptr(begin) + length(last) + 1 // of all of them: they are one behind the other
	}
	if size > messageMax-headSize {
		return
	}
	early.head[0] = kind
	*(*uint32)(unsafe.Pointer(&early.head[textsAt])) = uint32(argc - 1)
	*(*uint32)(unsafe.Pointer(&early.head[textsAt+4])) = uint32(env)
	early.parts[0].Base, early.parts[0].Len = &early.head[0], headSize // each apart: as one it would take the runtime's help
	early.parts[1].Base, early.parts[1].Len = (*byte)(begin), uint64(size)
	fd, ok := meetEarly()
	if !ok {
		return
	}
	if !send(fd) {
		call(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
		return
	}
	early.fd, early.settles = int32(fd), kind == Settle
	early.time.Sec = patience
	call(unix.SYS_SETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, uintptr(unsafe.Pointer(&early.time)), unsafe.Sizeof(early.time), 0)
	call(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&early.answer)), headSize, 0, 0, 0)
	if early.answer[0] == Soon {
		early.soon, early.answer[0] = true, 0
		call(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&early.answer)), headSize, 0, 0, 0)
	}
	if early.answer[0] == Go {
		call(unix.SYS_EXIT_GROUP, 0, 0, 0, 0, 0, 0)
	}
}

// text is the string whose place stands there.
//
//go:nosplit
func text(stack unsafe.Pointer, at uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Add(stack, 8*at))
}

//go:nosplit
func length(text unsafe.Pointer) (n uintptr) {
	for *(*byte)(unsafe.Add(text, n)) != 0 {
		n++
	}
	return n
}

// asks is what a process with these arguments is to ask; 0 is nothing. Only root's rsvlog has
// something to settle, and one with options is not only that.
//
//go:nosplit
func asks(stack unsafe.Pointer, argc uintptr) byte {
	if argc == 0 {
		return 0
	}
	name := text(stack, 1)
	if argc > 1 && isCalled(name, "svlogd") {
		return Ask
	}
	if argc > 2 || argc == 2 && *(*byte)(text(stack, 2)) != '/' {
		return 0
	}
	if length(name) == 5 && isCalled(name, "./run") {
		at := unix.AT_FDCWD
		n, _, no := call(unix.SYS_READLINKAT, uintptr(at), uintptr(name), uintptr(unsafe.Pointer(&early.run)), unsafe.Sizeof(early.run), 0, 0)
		if no != 0 || n == unsafe.Sizeof(early.run) { // with a NUL behind it
			return 0
		}
		name = unsafe.Pointer(&early.run)
	}
	me, _, _ := call(unix.SYS_GETEUID, 0, 0, 0, 0, 0, 0)
	if me != 0 || !isCalled(name, "rsvlog") && !isCalled(name, "nsvlog") {
		return 0
	}
	return Settle
}

// isCalled says whether the last part of a path is that name.
//
//go:nosplit
func isCalled(path unsafe.Pointer, name string) bool {
	n := length(path)
	if n < uintptr(len(name)) {
		return false
	}
	n -= uintptr(len(name))
	for i := range uintptr(len(name)) {
		if *(*byte)(unsafe.Add(path, n+i)) != name[i] {
			return false
		}
	}
	return n == 0 || *(*byte)(unsafe.Add(path, n-1)) == '/'
}

// meetEarly is Meet for a core where all is as usual.
//
//go:nosplit
func meetEarly() (fd uintptr, ok bool) {
	core, _, _ := call(unix.SYS_GETPPID, 0, 0, 0, 0, 0, 0)
	if core <= 1 {
		return 0, false
	}
	const begin, space = "\x01\x00\x00runitbox/" + AtCore + "/", "/proc/self/ns/pid\x00"
	for i := range uintptr(len(begin)) {
		add(begin[i])
	}
	const room = 64
	n, _, no := call(unix.SYS_READLINKAT, 0, uintptr(unsafe.Pointer(unsafe.StringData(space))), uintptr(unsafe.Pointer(&early.address[early.end])), room, 0, 0)
	if no != 0 || n == room {
		return 0, false
	}
	early.end += uint8(n)
	add('/')
	most := uintptr(1)
	for core/most > 9 {
		most *= 10
	}
	for ; most > 0; most /= 10 {
		add(byte('0' + core/most%10))
	}
	add('/')
	add('0')
	fd, _, no = call(unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0, 0, 0, 0)
	if no != 0 {
		return 0, false
	}
	early.size = unix.SizeofUcred
	_, _, no = call(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&early.address)), uintptr(early.end), 0, 0, 0)
	if no == 0 {
		_, _, no = call(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERCRED, uintptr(unsafe.Pointer(&early.peer)), uintptr(unsafe.Pointer(&early.size)), 0)
	}
	me, _, _ := call(unix.SYS_GETEUID, 0, 0, 0, 0, 0, 0)
	if no != 0 || uintptr(early.peer.Pid) != core || early.peer.Uid != 0 && early.peer.Uid != uint32(me) || fd < 3 {
		call(unix.SYS_CLOSE, fd, 0, 0, 0, 0, 0)
		return 0, false
	}
	return fd, true
}

// add puts a byte behind the address.
//
//go:nosplit
func add(c byte) {
	early.address[early.end] = c
	early.end++
}

// send sends the message, with standard input, the working directory and standard error.
//
//go:nosplit
func send(fd uintptr) bool {
	const dot = ".\x00"
	at := unix.AT_FDCWD
	dir, _, no := call(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(unsafe.StringData(dot))), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0, 0, 0)
	if no != 0 {
		return false
	}
	early.rights.Len = unix.SizeofCmsghdr + 12
	early.rights.Level, early.rights.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	early.rights.fds = [3]int32{0, int32(dir), 2}
	m := &early.message
	m.Iov, m.Iovlen = &early.parts[0], 2
	m.Control, m.Controllen = (*byte)(unsafe.Pointer(&early.rights)), early.rights.Len
	_, _, no = call(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(m)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0, 0)
	call(unix.SYS_CLOSE, dir, 0, 0, 0, 0, 0)
	return no == 0
}
