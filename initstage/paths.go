package initstage

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// The places of process 1's files, as the linker's -X may set them. A flag may
// have several places, with colons between them: the first that exists is
// used, or else the first that can be made. Void links /etc/runit/stopit to
// /run/runit/stopit, Debian has /run/runit.stopit.
var (
	dirRunit    = "/etc/runit"
	binRunit    = "/sbin/runit"
	stopFlags   = "/etc/runit/stopit:/run/runit/stopit:/run/runit.stopit"
	rebootFlags = "/etc/runit/reboot:/run/runit/reboot:/run/runit.reboot"
	haltFlags   = "/run/runit.halt:/run/runit/halt" // where no boot finds it again
	serviceDirs = "/etc/runit/runsvdir/current:/etc/service:/service:/var/service"
)

// Paths are the places of process 1's files.
type Paths struct {
	Dir      string   // of the stages 1, 2 and 3, ctrlaltdel and nosync
	Runit    string   // what runit-init becomes as process 1
	Stop     Flag     // the end is asked for
	Reboot   Flag     // and shall be a reboot
	Halt     Flag     // and shall leave the power on
	Services []string // where the built-in stage 2 looks for services
}

// DefaultPaths are the places that this executable was built with. Except in
// process 1 the environment can name others, for tests: RUNIT_DIR, RUNIT_STOPIT,
// RUNIT_REBOOT, RUNIT_HALT and RUNIT_SERVICES.
func DefaultPaths() Paths {
	get := func(name, value string) string {
		if v := os.Getenv(name); v != "" && os.Getpid() != 1 {
			return v
		}
		return value
	}
	return Paths{
		Dir:      get("RUNIT_DIR", dirRunit),
		Runit:    binRunit,
		Stop:     strings.Split(get("RUNIT_STOPIT", stopFlags), ":"),
		Reboot:   strings.Split(get("RUNIT_REBOOT", rebootFlags), ":"),
		Halt:     strings.Split(get("RUNIT_HALT", haltFlags), ":"),
		Services: strings.Split(get("RUNIT_SERVICES", serviceDirs), ":"),
	}
}

// Flag is the places of a flag file. The flag is the execute permission of the
// file's owner and nothing else, so that it works where /run is mounted noexec.
type Flag []string

// Set says whether the flag is set in any of its places.
func (f Flag) Set() bool {
	for _, path := range f {
		if info, err := os.Stat(path); err == nil && info.Mode()&0o100 != 0 {
			return true
		}
	}
	return false
}

// Clear takes all permissions from the flag's files. A file that is missing,
// or that has no permission to take, is as it should be.
func (f Flag) Clear() error {
	var first error
	for _, path := range f {
		info, err := os.Stat(path)
		if err == nil && info.Mode().Perm() != 0 {
			if err := unix.Chmod(path, 0); err != nil && first == nil {
				first = &verbError{"chmod " + path, err}
			}
		}
	}
	return first
}

// Raise sets the flag: where its file is, or else where one can be made.
func (f Flag) Raise() error {
	for _, path := range f {
		if _, err := os.Stat(path); err == nil {
			return raise(path)
		}
	}
	first := raise(f[0])
	if first == nil {
		return nil
	}
	for _, path := range f[1:] {
		if os.MkdirAll(filepath.Dir(path), 0o755) == nil && raise(path) == nil {
			return nil
		}
	}
	return first
}

// raise makes or empties one flag file and gives it its mode. A link is
// followed, though what it leads to may not be there yet.
func raise(path string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &verbError{"create " + path, err}
	}
	defer unix.Close(fd)
	if err := unix.Fchmod(fd, 0o100); err != nil {
		return &verbError{"chmod " + path, err}
	}
	return nil
}

// verbError is an error that says what could not be done: "create x: cause".
type verbError struct {
	what  string
	cause error
}

func (e *verbError) Error() string { return e.what + ": " + e.cause.Error() }
func (e *verbError) Unwrap() error { return e.cause }

// Ask asks process 1 for an end: poweroff and reboot, as runit-init 0 and 6 do, or
// halt. The flags that tell the kind of end come first, so that a failure leaves
// nothing armed.
func Ask(p Paths, what string) error {
	for _, kind := range []struct {
		flag Flag
		set  bool
	}{{p.Reboot, what == "reboot"}, {p.Halt, what == "halt"}} {
		var err error
		if kind.set {
			err = kind.flag.Raise()
		} else {
			err = kind.flag.Clear()
		}
		if err != nil {
			return err
		}
	}
	if err := p.Stop.Raise(); err != nil {
		p.Reboot.Clear() // best effort: the error to tell is the other
		p.Halt.Clear()
		return err
	}
	unix.Kill(1, unix.SIGCONT) // the flags stand whether or not it is runit that gets it
	return nil
}
