package loaders

import (
	"errors"

	"runitbox/procenv"
)

// What --help of each says.
const (
	setuidgidHelp = `usage: setuidgid account prog [arg ...]
Run a program as a user, with the user's own group and no other.
`
	envuidgidHelp = `usage: envuidgid account prog [arg ...]
Run a program with a user's ids in its environment: UID and GID.
`
	envdirHelp = `usage: envdir dir prog [arg ...]
Run a program with the environment that a directory holds: a file for each variable,
whose first line is the value. An empty file removes the variable.
`
	pgrphackHelp = `usage: pgrphack prog [arg ...]
Run a program in a session of its own.
`
	setlockHelp = `usage: setlock [-nNxX] file prog [arg ...]
Run a program that holds a lock on file.
  -n     fail if another has the lock
  -N     wait for it (as if not given)
  -x     exit 0 without a word where file cannot be locked
  -X     say so and exit 111 (as if not given)
`
	softlimitHelp = `usage: softlimit [option ...] prog [arg ...]
Run a program with other resource limits. A value may be = for the hard limit.
  -a BYTES    limit all memory
  -c BYTES    limit core files
  -d BYTES    limit memory for data
  -f BYTES    limit what is written to a file
  -l BYTES    limit locked memory
  -m BYTES    limit data, stack, locked memory and all memory each
  -o N        limit descriptors
  -p N        limit processes of the user
  -r BYTES    limit resident memory, where the kernel does
  -s BYTES    limit the stack
  -t SECONDS  limit processor time
`
)

// setuidgid is chpst -u with an account's name and nothing else.
func setuidgid(name string, argv []string) error {
	if len(argv) < 3 {
		return misuse("", name+" account child")
	}
	c := procenv.Change{User: &argv[1], Account: true}
	return c.Exec(argv[2:])
}

// envuidgid is chpst -U with an account's name and nothing else.
func envuidgid(name string, argv []string) error {
	if len(argv) < 3 {
		return misuse("", name+" account child")
	}
	c := procenv.Change{EnvUser: &argv[1], Account: true}
	return c.Exec(argv[2:])
}

// envdir is chpst -e for a directory without subdirectories.
func envdir(name string, argv []string) error {
	if len(argv) < 3 {
		return misuse("", name+" dir child")
	}
	c := procenv.Change{EnvDir: &argv[1], NoSubdirs: true, Warn: warn}
	return c.Exec(argv[2:])
}

// pgrphack is chpst -P.
func pgrphack(name string, argv []string) error {
	if len(argv) < 2 {
		return misuse("", name+" child")
	}
	c := procenv.Change{Session: true}
	return c.Exec(argv[1:])
}

// setlock holds a lock for the program. It does what daemontools' does, where
// runit's has -n and -N the wrong way round.
func setlock(name string, argv []string) error {
	var c procenv.Change
	usage := name + " [ -nNxX ] file program [ arg ... ]"
	silent := false
	opts := getopt{flags: []option{{letter: 'n'}, {letter: 'N'}, {letter: 'x'}, {letter: 'X'}}, args: argv[1:]}
	for opts.next() {
		switch opts.name {
		case "n", "N":
			c.TryLock = opts.name == "n"
		case "x", "X":
			silent = opts.name == "x"
		}
	}
	if opts.wrong != "" {
		return misuse(base(argv[0])+": "+opts.wrong, usage)
	}
	if len(opts.args) < 2 {
		return misuse("", usage)
	}
	c.Lock = &opts.args[0]
	err := c.Exec(opts.args[1:])
	if _, lock := errors.AsType[*procenv.LockError](err); lock && silent {
		return nil
	}
	return err
}

// softlimit is chpst with limits alone, which may be = for the hard limit.
func softlimit(name string, argv []string) error {
	var c procenv.Change
	usage := name + " [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] [-l lockbytes] [-m membytes] [-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] [-t cpusecs] child"
	var flags []option
	for _, letter := range []byte("acdflmoprst") {
		flags = append(flags, option{letter: letter, value: true})
	}
	opts := getopt{flags: flags, args: argv[1:]}
	for opts.next() {
		if opts.value == "=" {
			c.Limits.Set(procenv.Hard, resources(opts.name)...)
		} else if err := limit(&c.Limits, opts.name, opts.value); err != nil {
			return misuse("", name+chpstUsage) // not softlimit's own line, as in runit
		}
	}
	if opts.wrong != "" {
		return misuse(base(argv[0])+": "+opts.wrong, usage)
	}
	if len(opts.args) == 0 {
		return misuse("", usage)
	}
	return c.Exec(opts.args)
}
