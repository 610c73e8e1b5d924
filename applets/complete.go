package applets

import (
	_ "embed"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"runitbox/applets/loaders"
	"runitbox/supervise/sys"
)

// The scripts that make a shell ask for completion. They are small, since all that is to
// be known is here.
var (
	//go:embed completion/runitbox.bash
	bashScript string
	//go:embed completion/runitbox.zsh
	zshScript string
	//go:embed completion/runitbox.fish
	fishScript string
)

// newCompletion prints what makes a shell complete the arguments of all applets.
func newCompletion() *cobra.Command {
	const line = "runitbox completion bash|zsh|fish"
	cmd := &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "print a script that makes the shell complete arguments",
		RunE: func(cmd *cobra.Command, args []string) error {
			script := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[strings.Join(args, " ")]
			if script == "" {
				return misuse{"", line, 100}
			}
			_, err := io.WriteString(cmd.OutOrStdout(), script)
			return err
		},
	}
	getoptErrors(cmd, "runitbox", line, 100)
	return cmd
}

// newComplete answers the scripts: "complete NAME WORD..." prints what the last WORD may
// become, a candidate a line, and after a tab what it means.
func newComplete() *cobra.Command {
	return &cobra.Command{
		Use:                "complete name word ...",
		Short:              "tell what a word of a command line may become",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return misuse{"", "runitbox complete name word ...", 100}
			}
			for _, c := range completions(cmd.Root(), args[0], args[1:]) {
				io.WriteString(cmd.OutOrStdout(), strings.TrimSuffix(c.text+"\t"+c.about, "\t")+"\n")
			}
			return nil
		},
	}
}

// candidate is what a word may become, or, where text begins with a colon, what the shell
// itself is to complete: :dirs, :files, or :program with the number of the word that
// another command line begins with.
type candidate struct{ text, about string }

// operands are what each applet takes behind its options; the last may come again. The
// map is made for who asks: an applet has no use for it when it begins.
func operands() map[string][]string {
	return map[string][]string{
		"chpst":            {"program"},
		"envdir":           {"dir", "program"},
		"envuidgid":        {"user", "program"},
		"pgrphack":         {"program"},
		"setlock":          {"file", "program"},
		"setuidgid":        {"user", "program"},
		"softlimit":        {"program"},
		"runsv":            {"dir", ""},
		"runsvdir":         {"dir", ""},
		"runsvchdir":       {"level", ""},
		"sv":               {"command", "service"},
		"svlogd":           {"dir"},
		"init":             {"0 6", ""},
		"runit-init":       {"0 6", ""},
		"utmpset":          {"line", ""},
		"shutdown":         {"now", ""},
		"install":          {"dir", ""},
		"setup services":   {"collection"},
		"runsvctrl":        {"command", "dir"},
		"runsvstat":        {"dir"},
		"svwaitup":         {"dir"},
		"svwaitdown":       {"dir"},
		"rsvlog":           {"dir", ""},
		"nsvlog":           {"dir", ""},
		"sv list":          {"service"},
		"sv log":           {"service"},
		"sv why":           {"service"},
		"sv watch":         {"service"},
		"sv chart":         {"service"},
		"sv metrics":       {"service"},
		"sv lint":          {"service"},
		"sv enable":        {"enabled"},
		"sv disable":       {"service"},
		"sv start":         {"service"},
		"sv restart":       {"service"},
		"sv force-restart": {"service"},
		"sv check":         {"service"},
		"uninstall":        {"dir"},
		"setup boot":       {"busybox cron openrc systemd sysvinit", ""},
		"setup levels":     {"default single solo"},
		"setup user":       {"user"},
		"setup recipes":    {"failover postgresql-replica"},
		"completion":       {"bash fish zsh", ""},
		"help":             {"applet", ""},
	}
}

// valueKind is the kind of an option's value, by what help calls it.
func valueKind(called string) string {
	switch called {
	case "DIR", "FILE", "USER":
		return strings.ToLower(called)
	case "LIST":
		return "capability"
	}
	return ""
}

// completions are the candidates for the last of the words behind name.
func completions(root *cobra.Command, name string, words []string) []candidate {
	first := 1 // the number of words[0] on the command line
	help := helpText(name)
	if loaders.Known(name) {
		name = loaders.Plain(name)
	}
	if isBox(name) {
		name = ""
		cmd := root
		for len(words) > 1 && cmd.HasSubCommands() {
			if known(words[0]) && cmd == root {
				all := completions(root, words[0], words[1:])
				return shifted(all, first)
			}
			at := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == words[0] })
			if at < 0 {
				return nil
			}
			cmd = cmd.Commands()[at]
			name = strings.TrimSpace(name + " " + words[0])
			words, first = words[1:], first+1
		}
		if cmd.HasSubCommands() && !strings.HasPrefix(words[0], "-") {
			return matching(words[0], subcommands(cmd))
		}
		help = options(cmd)
	}
	if name == "sv" {
		return ofSv(optionsIn(help), words)
	}
	return shifted(operandsOf(name, optionsIn(help), words), first-1)
}

// steadyOption is the option that may stand behind some commands of sv.
var steadyOption = []option{{letter: "w", value: "sec", about: "wait that many seconds until it is ready or lasts"}}

// ofSv are completions for sv: behind a verb of its own, those of the verb.
func ofSv(opts []option, words []string) []candidate {
	for i := 0; i < len(words)-1; i++ {
		if act := findAction(words[i]); act != nil && act.steady() {
			return operandsOf("sv "+words[i], steadyOption, words[i+1:])
		}
		if build := findVerb(words[i]); build != nil {
			verb := build(&svCall{})
			return operandsOf("sv "+words[i], optionsIn(options(verb)), words[i+1:])
		}
		if _, takes := takesValue(opts, words[i]); takes && strings.HasPrefix(words[i], "-") {
			i++
		} else if !strings.HasPrefix(words[i], "-") {
			break
		}
	}
	return operandsOf("sv", opts, words)
}

// shifted counts the number of :program from so many words more.
func shifted(all []candidate, by int) []candidate {
	for i, c := range all {
		if n, err := strconv.Atoi(c.about); c.text == ":program" && err == nil {
			all[i].about = strconv.Itoa(n + by)
		}
	}
	return all
}

// subcommands are the commands of cmd that are shown.
func subcommands(cmd *cobra.Command) (all []candidate) {
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			all = append(all, candidate{c.Name(), c.Short})
		}
	}
	return all
}

// operandsOf reads the words before the last as the applet would, and tells what the last
// may be: an option, the value of one, or an operand.
func operandsOf(name string, opts []option, words []string) []candidate {
	last := words[len(words)-1]
	i, ended := 0, false
	for ; i < len(words)-1 && !ended && len(words[i]) > 1 && words[i][0] == '-'; i++ {
		if ended = words[i] == "--"; ended {
			continue
		}
		if kind, takes := takesValue(opts, words[i]); takes {
			if i == len(words)-2 {
				return ofKind(kind, last)
			}
			i++
		}
	}
	if i == len(words)-1 && !ended && strings.HasPrefix(last, "-") {
		if long, value, ok := strings.Cut(last, "="); ok {
			kind, _ := takesValue(opts, long)
			all := ofKind(kind, value)
			for j := range all {
				if all[j].text[0] != ':' {
					all[j].text = long + "=" + all[j].text
				}
			}
			return all
		}
		return matching(last, optionWords(opts))
	}
	kinds := operands()[name]
	if len(kinds) == 0 {
		return nil
	}
	nth := len(words) - 1 - i
	if at := slices.Index(kinds, "program"); at >= 0 && nth >= at {
		return []candidate{{":program", strconv.Itoa(i + at + 1)}}
	}
	return ofKind(kinds[min(nth, len(kinds)-1)], last)
}

// takesValue says whether the word is an option that takes the next word, and of what kind
// that is.
func takesValue(opts []option, word string) (kind string, takes bool) {
	for _, o := range opts {
		if strings.HasPrefix(word, "--") {
			takes = word == "--"+o.long
		} else {
			takes = o.letter != "" && strings.HasSuffix(word, o.letter) // letters may be combined
		}
		if takes && o.value != "" {
			return valueKind(strings.ToUpper(o.value)), true
		}
	}
	return "", false
}

// option is an option as --help tells of it.
type option struct{ letter, long, value, about string }

// optionsIn reads the lines of a help text that begin with an option: "  -w, --wait SEC
// text".
func optionsIn(help string) (all []option) {
	for line := range strings.Lines(help) {
		rest := strings.TrimSpace(line)
		if !strings.HasPrefix(line, "  ") || !strings.HasPrefix(rest, "-") {
			continue
		}
		head, about, _ := strings.Cut(rest, "  ")
		o := option{about: strings.TrimSpace(about)}
		for _, word := range strings.Fields(strings.ReplaceAll(head, ",", " ")) {
			switch {
			case strings.HasPrefix(word, "--"):
				o.long = word[2:]
				if name, value, attached := strings.Cut(o.long, "="); attached {
					o.long, o.value = name, value
				}
			case strings.HasPrefix(word, "-") && o.letter != "": // one of several that are told together
				all = append(all, o)
				o.letter = word[1:]
			case strings.HasPrefix(word, "-"):
				o.letter = word[1:]
			default:
				o.value = word
			}
		}
		if o.value == "count" { // such an option may be repeated, and takes nothing
			o.value = ""
		}
		all = append(all, o)
	}
	return all
}

// optionWords are the options as words.
func optionWords(opts []option) (all []candidate) {
	for _, o := range opts {
		if o.letter != "" {
			all = append(all, candidate{"-" + o.letter, o.about})
		}
		if o.long != "" {
			all = append(all, candidate{"--" + o.long, o.about})
		}
	}
	return all
}

// ofKind are the candidates of a kind for a word.
func ofKind(kind, word string) []candidate {
	switch kind {
	case "":
		return nil
	case "dir", "file":
		return []candidate{{":" + kind + "s", ""}}
	case "command":
		return matching(word, plainly(svWords()))
	case "service":
		if strings.ContainsAny(word, "/") || strings.HasPrefix(word, ".") {
			return []candidate{{":dirs", ""}}
		}
		return matching(word, plainly(directories(filepath.Dir(svPath("x")))))
	case "enabled":
		return matching(word, plainly(directories(svCollection())))
	case "level":
		dir, set := os.LookupEnv("RUNSVDIR")
		if !set {
			dir = runlevels
		}
		return matching(word, plainly(directories(dir)))
	case "user":
		return matching(word, plainly(users("/etc/passwd")))
	case "line":
		return matching(word, plainly(terminals()))
	case "applet":
		return matching(word, plainly(names()))
	case "capability":
		return nil
	case "collection":
		return matching(word, collection())
	}
	return matching(word, plainly(strings.Fields(kind)))
}

// matching are those that begin with word.
func matching(word string, all []candidate) []candidate {
	return slices.DeleteFunc(all, func(c candidate) bool { return !strings.HasPrefix(c.text, word) })
}

// plainly are candidates that need no explanation.
func plainly(texts []string) (all []candidate) {
	for _, t := range texts {
		all = append(all, candidate{t, ""})
	}
	return all
}

// svWords are sv's commands, whole.
func svWords() (all []string) {
	for _, a := range actions {
		word := a.word
		if a.meant != "" {
			word = a.meant
		}
		if (len(word) > 1 || word == "1" || word == "2") && !slices.Contains(all, word) {
			all = append(all, word)
		}
	}
	for _, v := range verbs {
		all = append(all, v.name)
	}
	slices.Sort(all)
	return all
}

// directories are the directories in dir, and links to some, that do not begin with a dot.
func directories(dir string) (all []string) {
	entries, _ := sys.ReadDir(dir)
	for _, e := range entries {
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.IsDir() && e.Name()[0] != '.' {
			all = append(all, e.Name())
		}
	}
	return all
}

// users are the names in a file as passwd(5) has it.
func users(file string) (all []string) {
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if name, _, ok := strings.Cut(line, ":"); ok && name != "" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// terminals are the names of those below /dev that somebody may log in on.
func terminals() (all []string) {
	entries, _ := sys.ReadDir("/dev")
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "tty") || e.Name() == "console" {
			all = append(all, e.Name())
		}
	}
	return all
}
