package loaders

import (
	"strconv"
	"syscall"

	"runitbox/procenv"
)

// The options of chpst. All letters are runit's; what is new has none.
var chpstFlags = []option{
	{'P', "session", false},
	{'e', "env-dir", true},
	{'/', "root", true},
	{'C', "chdir", true},
	{'n', "nice", true},
	{'U', "env-user", true},
	{'u', "user", true},
	{0, "groups", false},
	{0, "keep-caps", true},
	{0, "no-new-privs", false},
	{'l', "lock", true},
	{'L', "try-lock", true},
	{0, "umask", true},
	{0, "oom-score-adj", true},
	{'0', "close-stdin", false},
	{'1', "close-stdout", false},
	{'2', "close-stderr", false},
	{'m', "memory", true},
	{'d', "data", true},
	{'o', "open-files", true},
	{'p', "processes", true},
	{'f', "file-size", true},
	{'c', "core", true},
	{'r', "rss", true},
	{'t', "cpu", true},
	{'b', "argv0", true},
	{0, "stderr", false},
	{0, "args", true},
	{'v', "verbose", false},
	{'V', "version", false},
	{0, "help", false},
}

// chpstHelp is what --help says: on one screen, in the order of the changes.
const chpstHelp = `usage: chpst [option ...] prog [arg ...]
Run a program with a changed process state. The changes are made in this order.
  -P, --session           lead a new session
      --oom-score-adj N   end it sooner (up to 1000) or later when memory ends
  -e, --env-dir DIR       set variables: a file each, its first line the value
  -/, --root DIR          make DIR the root; users are looked up inside
  -C, --chdir DIR         go to DIR, inside the root
  -n, --nice N            add N to the nice value
  -U, --env-user USER     tell USER's numbers in the variables UID and GID
  -u, --user USER         become USER: name[:group...] or :uid:gid[:gid...]
      --groups            with all groups of the user, as at a login
      --keep-caps LIST    keep these capabilities (kill,net_raw) and no other
      --no-new-privs      no program can gain privileges from here on
  -l, --lock FILE         wait for a lock on FILE; prog holds it while it lives
  -L, --try-lock FILE     the same, but fail if it is held
      --umask MODE        take these permissions (octal) from what prog makes
  -0, -1, -2              close stdin, stdout, stderr (--close-stdin ...)
      --stderr            stderr goes where stdout does
  -m, --memory BYTES      limit data, stack, locked memory and all memory each
  -d, --data BYTES        limit memory for data
  -o, --open-files N      limit descriptors
  -p, --processes N       limit processes of the user
  -f, --file-size BYTES   limit what is written to a file
  -c, --core BYTES        limit core files
  -r, --rss BYTES         limit resident memory, where the kernel does
  -t, --cpu SECONDS       limit processor time
  -b, --argv0 NAME        prog finds NAME as its argv[0]
      --args FILE         read options, prog and args from FILE, one a line
  -v, --verbose           warn of directories among the files of -e
  -V, --version           tell the version
Limits are soft and at most the hard ones. Any failure: exit 111, and no prog.
`

// chpstUsage is what follows the name in chpst's usage line.
const chpstUsage = " [-vVP012] [-u user[:group]] [-U user[:group]] [-b argv0] [-e dir] [-/ root] [-C pwd] [-n nice] [-l|-L lock] [-m n] [-d n] [-o n] [-p n] [-f n] [-c n] [-r n] [-t n] prog"

// help is apart so that its text is not copied to the stack of every chpst,
// which would have to grow for it.
//
//go:noinline
func help() error {
	_, err := syscall.Write(1, []byte(chpstHelp))
	return err
}

// chpst changes the process state as its options say and becomes the program.
func chpst(name string, argv []string) error {
	var c procenv.Change
	c.Warn = warn
	usage := name + chpstUsage
	opts := getopt{flags: chpstFlags, args: argv[1:]}
	fromFile := false
	for opts.next() {
		value := opts.value
		var err error
		switch opts.name {
		case "P":
			c.Session = true
		case "oom-score-adj":
			c.OOMScore, err = integer(value, 10, -1000, 1000)
		case "e":
			c.EnvDir = &value
		case "/":
			c.Root = &value
		case "C":
			c.Dir = &value
		case "n":
			c.Nice, err = parseNice(value)
		case "U":
			c.EnvUser = &value
		case "u":
			c.User = &value
		case "groups":
			c.AllGroups = true
		case "keep-caps":
			c.Caps = new(procenv.Caps)
			if *c.Caps, err = procenv.ParseCaps(value); err != nil {
				return err
			}
		case "no-new-privs":
			c.NoNewPrivs = true
		case "l", "L":
			if c.Lock != nil {
				return misuse("", usage)
			}
			c.Lock, c.TryLock = &value, opts.name == "L"
		case "umask":
			c.Umask, err = integer(value, 8, 0, 0o777)
		case "0", "1", "2":
			c.Close[opts.name[0]-'0'] = true
		case "stderr":
			c.JoinStderr = true
		case "args":
			if fromFile { // a file that names itself would have no end
				return misuse("", usage)
			}
			fromFile = true
			args, err := procenv.Arguments(value)
			if err != nil {
				return err
			}
			opts.args = append(args, opts.args...)
		case "b":
			c.Argv0 = &value
		case "v":
			c.Verbose = true
		case "V":
			return misuse("runitbox "+Version, usage)
		case "help":
			return help()
		default:
			err = limit(&c.Limits, opts.name, value)
		}
		if err != nil {
			return misuse("", usage)
		}
	}
	switch {
	case opts.wrong != "":
		return misuse(base(argv[0])+": "+opts.wrong, usage)
	case len(opts.args) == 0:
		return misuse("", usage)
	case c.AllGroups && (c.User == nil || hasPrefix(*c.User, ":")):
		return misuse(name+": --groups is for -u with a name", usage)
	}
	return c.Exec(opts.args)
}

// resources says which limits a letter sets, in chpst and in softlimit; -l, -a
// and -s are softlimit's alone.
func resources(letter string) []procenv.Resource {
	switch letter {
	case "m":
		return []procenv.Resource{procenv.Data, procenv.Stack, procenv.MemLock, procenv.AS}
	case "a":
		return []procenv.Resource{procenv.AS}
	case "c":
		return []procenv.Resource{procenv.Core}
	case "d":
		return []procenv.Resource{procenv.Data}
	case "f":
		return []procenv.Resource{procenv.FSize}
	case "l":
		return []procenv.Resource{procenv.MemLock}
	case "o":
		return []procenv.Resource{procenv.NoFile}
	case "p":
		return []procenv.Resource{procenv.NProc}
	case "r":
		return []procenv.Resource{procenv.RSS}
	case "s":
		return []procenv.Resource{procenv.Stack}
	case "t":
		return []procenv.Resource{procenv.CPU}
	}
	return nil
}

// limit sets what the letter stands for to the number.
func limit(l *procenv.Limits, letter, number string) error {
	n, err := procenv.ParseLimit(number)
	l.Set(n, resources(letter)...)
	return err
}

// parseNice reads an increment: a sign, or none, and digits, or none. A number
// that no machine can hold is as good as the greatest step there is.
func parseNice(text string) (int, error) {
	digits, negative := text, false
	if digits != "" && (digits[0] == '-' || digits[0] == '+') {
		digits, negative = text[1:], text[0] == '-'
	}
	step := 0
	for _, digit := range []byte(digits) {
		if digit < '0' || digit > '9' {
			return 0, strconv.ErrSyntax
		}
		step = min(step*10+int(digit-'0'), 40)
	}
	if negative {
		step = -step
	}
	return step, nil
}

// integer reads a number between least and most.
func integer(text string, base, least, most int) (*int, error) {
	n, err := strconv.ParseInt(text, base, 32)
	i := int(n)
	if err == nil && (i < least || i > most) {
		err = strconv.ErrRange
	}
	return &i, err
}
