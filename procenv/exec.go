package procenv

import (
	"slices"
	"syscall"
	"unsafe"
)

// exec sets the limits and becomes the program. What needs memory comes first:
// under a small limit there may be none to be had.
func (c *Change) exec(argv []string, env Environment) error {
	paths, err := candidates(argv[0])
	if err != nil {
		return err
	}
	if c.Argv0 != nil {
		argv = append([]string{*c.Argv0}, argv[1:]...)
	}
	argvp, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return failed("run: "+argv[0], err)
	}
	envp, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return failed("run: "+argv[0], err)
	}
	limits, err := c.Limits.settings()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(limits, func(s setting) bool { return s.resource == NoFile }) {
		// Package syscall has raised the soft limit for itself and gives it
		// back only in Exec, before it looks at the path.
		syscall.Exec("", nil, nil)
	}

	restoreStdio()
	restoreSignals()
	beforeExec() // no thread may be in the making when exec ends the others
	defer afterExec()
	for i := range limits {
		if err := syscall.Setrlimit(int(limits[i].resource), &limits[i].after); err != nil {
			return failed("setrlimit()", err)
		}
	}
	no := syscall.ENOENT
	for _, path := range paths {
		_, _, err := syscall.RawSyscall(syscall.SYS_EXECVE,
			uintptr(unsafe.Pointer(path)),
			uintptr(unsafe.Pointer(&argvp[0])),
			uintptr(unsafe.Pointer(&envp[0])))
		switch err {
		case syscall.EACCES, syscall.EPERM, syscall.EISDIR:
			no = err // that it is there, but cannot be run, is worth telling
			continue
		case syscall.ENOENT, syscall.ENOTDIR:
			if len(paths) > 1 { // else it is the answer
				continue
			}
		}
		no = err
		break
	}
	for i := range limits { // what is left to do is to tell, and that takes memory
		syscall.Setrlimit(int(limits[i].resource), &limits[i].before)
	}
	return failed("run: "+argv[0], no)
}

// candidates are the files that prog may be, to be tried in this order. PATH
// is the one that this process was given, not one that it gives.
func candidates(prog string) ([]*byte, error) {
	if contains(prog, '/') {
		path, err := syscall.BytePtrFromString(prog)
		return []*byte{path}, failed("run: "+prog, err)
	}
	list, ok := syscall.Getenv("PATH")
	if !ok {
		list = "/bin:/usr/bin"
	}
	var paths []*byte
	for dir := range split(list, ':') {
		if dir == "" {
			dir = "."
		}
		path, err := syscall.BytePtrFromString(dir + "/" + prog)
		if err != nil {
			return nil, failed("run: "+prog, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// beforeExec and afterExec are what syscall.Exec calls around its execve, for
// which it takes memory: not what a process with tiny limits has.
//
//go:linkname beforeExec syscall.runtime_BeforeExec
func beforeExec()

//go:linkname afterExec syscall.runtime_AfterExec
func afterExec()

// Args are the arguments of the process, as os.Args, but there before package
// os is.
//
//go:linkname Args os.runtime_args
func Args() []string
