package applets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"runitbox/applets/loaders"
	"runitbox/applets/manual"
)

// TestManuals: each applet and each command of runitbox has its page, and what --help
// tells of an option, a page tells too; so with sv's commands.
func TestManuals(t *testing.T) {
	page := func(name string) string {
		text, err := os.ReadFile("manual/" + name + ".8")
		if err == nil {
			return manual.Render(string(text), 78)
		}
		files, _ := filepath.Glob("manual/*.8")
		for _, file := range files {
			if text, _ := os.ReadFile(file); slices.Contains(manual.Names(string(text)), name) {
				return manual.Render(string(text), 78)
			}
		}
		t.Errorf("%s has no manual page", name)
		return ""
	}
	has := func(text, option string) bool {
		return regexp.MustCompile(`(?m)^ {7}(\S.*[ (])?` + regexp.QuoteMeta(option) + `($|[^\w-])`).MatchString(text)
	}
	for _, name := range names() {
		text := page(name)
		for _, o := range optionsIn(helpText(name)) {
			if o.letter != "" && !has(text, "-"+o.letter) {
				t.Errorf("%s.8 does not tell of -%s", name, o.letter)
			}
			if o.long != "" && !has(text, "--"+o.long) {
				t.Errorf("%s.8 does not tell of --%s", name, o.long)
			}
		}
		line, _, _ := strings.Cut(helpText(name), "\n")
		for _, group := range regexp.MustCompile(`\[-(\w+)`).FindAllStringSubmatch(line, -1) {
			for _, letter := range group[1] {
				if !has(text, "-"+string(letter)) {
					t.Errorf("%s.8 does not tell of -%c, which its usage has", name, letter)
				}
			}
		}
	}
	for _, v := range verbs {
		if n := len(regexp.MustCompile(`(?m)^ {7}`+v.name+` (\[|service)`).FindAllString(page("sv"), -1)); n != 1 {
			t.Errorf("sv.8 tells of %s %d times", v.name, n)
		}
		for _, o := range optionsIn(options(v.build(&svCall{}))) {
			if (o.letter != "" && !has(page("sv"), "-"+o.letter) || !has(page("sv"), "--"+o.long)) && o.long != "help" {
				t.Errorf("sv.8 does not tell of -%s, --%s of %s", o.letter, o.long, v.name)
			}
		}
	}
	for _, word := range svWords() {
		if !regexp.MustCompile(`(?m)^ {7}(.*, )?` + word + `\b`).MatchString(page("sv")) {
			t.Errorf("sv.8 does not tell of %s", word)
		}
	}
	// Options that are read by hand, in no table: each is a word of the source.
	for _, name := range []string{"runsv", "runsvdir", "runsvchdir"} {
		source, err := os.ReadFile(name + ".go")
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range regexp.MustCompile(`"(--[a-z][a-z-]*)=?"`).FindAllStringSubmatch(string(source), -1) {
			if word[1] != "--tree" && word[1] != "--help" && (!strings.Contains(page(name), word[1]) || !strings.Contains(helpText(name), word[1])) {
				t.Errorf("%s.8 or --help does not tell of %s", name, word[1])
			}
		}
	}
	// What a service directory may say.
	readme, err := os.ReadFile("../supervise/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(readme), "## What a directory may say beyond runit")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, file := range regexp.MustCompile("(?m)^\\| `([a-z-]+)/?`").FindAllStringSubmatch(table, -1) {
		if !strings.Contains(page("runsv"), file[1]) {
			t.Errorf("runsv.8 does not tell of %s", file[1])
		}
	}
	box := newBox()
	for _, cmd := range box.Commands() {
		if known(cmd.Name()) || cmd.Hidden {
			continue
		}
		if !strings.Contains(page("runitbox"), "runitbox "+cmd.Name()) {
			t.Errorf("runitbox.8 does not tell of %s", cmd.Name())
		}
		for _, c := range append(cmd.Commands(), cmd) {
			for _, o := range optionsIn(options(c)) {
				if !has(page("runitbox"), "--"+o.long) {
					t.Errorf("runitbox.8 does not tell of --%s of %s", o.long, c.CommandPath())
				}
			}
		}
	}
}

// TestHelp: --help of every applet is of one form, and names every option.
func TestHelp(t *testing.T) {
	t.Parallel()
	self := built(t)
	dir := t.TempDir()
	for _, name := range names() {
		cmd := &exec.Cmd{Path: self, Args: []string{name, "--help"}, Dir: dir}
		out, err := cmd.Output()
		text := string(out)
		if name == "runit" || name == "init" || err == nil {
			err = nil
		}
		lines := strings.Split(text, "\n")
		if err != nil || !strings.HasPrefix(text, "usage: "+name) || len(lines) < 3 || !regexp.MustCompile(`^[A-Z].*[.:]`).MatchString(lines[1]) {
			t.Errorf("%s --help: %v\n%s", name, err, text)
		}
		for _, line := range lines {
			if len(line) > 90 {
				t.Errorf("%s --help: %d columns: %s", name, len(line), line)
			}
		}
		if build := find(name); build != nil {
			for _, o := range optionsIn(build(name).Flags().FlagUsages()) {
				if !strings.Contains(text, "--"+o.long) {
					t.Errorf("%s --help does not name --%s", name, o.long)
				}
			}
		}
		if diff := cmp.Diff(text, helpText(name)); diff != "" {
			t.Errorf("%s --help is not what completion reads (-help +read):\n%s", name, diff)
		}
		if name == "sv" {
			for _, word := range svWords() {
				if !regexp.MustCompile(`\b` + word + `\b`).MatchString(text) {
					t.Errorf("sv --help does not name %s", word)
				}
			}
		}
		page := ask(t, self, nil, "runitbox", "help", name)
		if page.Status != 0 || !strings.HasPrefix(page.Stdout, "NAME\n") || !strings.Contains(page.Stdout, name) {
			t.Errorf("runitbox help %s: %+v", name, page)
		}
	}
	if page := ask(t, self, nil, "runitbox", "help", "install"); !strings.Contains(page.Stdout, "runitbox install") {
		t.Errorf("runitbox help install: %+v", page)
	}
	// A directory may have that name.
	if err := os.MkdirAll(filepath.Join(dir, "--help/supervise"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "--help/supervise/control"), nil, 0o600); err != nil { // it shall not start
		t.Fatal(err)
	}
	cmd := &exec.Cmd{Path: self, Args: []string{"runsv", "--help"}, Dir: dir}
	if text, _ := cmd.CombinedOutput(); !strings.HasPrefix(string(text), "runsv --help: fatal: ") {
		t.Errorf("runsv of a directory --help: %s", text)
	}
}

func TestCompletions(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"web", "mail", "web/log", ".off"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SVDIR", dir)
	t.Setenv("RUNSVDIR", dir)
	for line, want := range map[string][]string{
		"sv sta":                          {"start", "status"},
		"sv force-st":                     {"force-stop"},
		"sv status ":                      {"mail", "web"},
		"sv -w 5 start mail w":            {"web"},
		"sv -w5 start w":                  {"web"},
		"sv -vw 5 start w":                {"web"},
		"sv -w ":                          nil,
		"sv log --si":                     {"--since"},
		"sv log -f w":                     {"web"},
		"sv log -n 5 w":                   {"web"},
		"sv -w 5 enable --wai":            {"--wait"},
		"sv li":                           {"lint", "list"},
		"sv start list --":                nil,
		"sv chart w":                      {"web"},
		"sv chart -p ":                    {"mail", "web"},
		"sv chart -o ":                    {":files"},
		"sv start -":                      {"-w"},
		"sv -v check -w ":                 nil,
		"sv restart -w 5 w":               {"web"},
		"runitbox sv why w":               {"web"},
		"runsvctrl dow":                   {"down"},
		"svwaitup -s 5 ":                  {":dirs"},
		"runitbox setup boot --services ": {":dirs"},
		"runitbox setup boot sys":         {"systemd", "sysvinit"},
		"sv --js":                         {"--json"},
		"sv -- sta":                       {"start", "status"},
		"sv start ./w":                    {":dirs"},
		"sv start /w":                     {":dirs"},
		"runsvchdir w":                    {"web"},
		"runsvchdir web ":                 nil,
		"runsv ":                          {":dirs"},
		"runsvdir --stop-on":              {"--stop-on-term"},
		"runsvdir --stop-timeout=5 -P ":   {":dirs"},
		"runsvdir -P ":                    {":dirs"},
		"svlogd -tt -r _ a ":              {":dirs"},
		"chpst -u roo":                    {"root"},
		"chpst --user=roo":                {"--user=root"},
		"chpst --user roo":                {"root"},
		"chpst -P -e ":                    {":dirs"},
		"chpst --root=":                   {":dirs"},
		"chpst -l ":                       {":files"},
		"chpst -P ht":                     {":program 2"},
		"chpst -P -e env -u roo ht -x":    {":program 6"},
		"chpst -- ht":                     {":program 2"},
		"dchpst ht":                       {":program 1"},
		"setlock -n ":                     {":files"},
		"setlock -n x ht":                 {":program 3"},
		"setuidgid roo":                   {"root"},
		"setuidgid root ht -":             {":program 2"},
		"softlimit -m 5 ht":               {":program 3"},
		"runit-init ":                     {"0", "6"},
		"shutdown -r ":                    {"now"},
		"runitbox svl":                    {"svlogd"},
		"runitbox sv st":                  {"start", "status", "stop"},
		"runitbox sv status w":            {"web"},
		"runitbox chpst -P ht":            {":program 3"},
		"runitbox-1.0 chpst -P ht":        {":program 3"},
		"runitbox inst":                   {"install"},
		"runitbox install --har":          {"--hard"},
		"runitbox install --hard ":        {":dirs"},
		"runitbox setup serv":             {"services"},
		"runitbox setup services ngi":     {"nginx"},
		"runitbox setup services --dr":    {"--dry-run"},
		"runitbox setup services --root ": {":dirs"},
		"runitbox completion ":            {"bash", "fish", "zsh"},
		"runitbox help setl":              {"setlock"},
		"runitbox nosuch x":               nil,
		"nosuch ":                         nil,
	} {
		words := strings.Split(line, " ")
		var got []string
		for _, c := range completions(newBox(), words[0], words[1:]) {
			if c.text == ":program" {
				c.text += " " + c.about
			}
			got = append(got, c.text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
	}
	if words := optionsIn(helpText("chpst")); len(words) < 30 {
		t.Errorf("of chpst's options %d are known", len(words))
	}
	for i := range actions {
		if _, ok := operands()["sv "+actions[i].word]; !ok && actions[i].steady() {
			t.Errorf("sv %s: the operands are not told", actions[i].word)
		}
	}
	for _, v := range verbs {
		if _, ok := operands()["sv "+v.name]; !ok {
			t.Errorf("sv %s: the operands are not told", v.name)
		}
	}
	for _, o := range loaders.All {
		if _, ok := operands()[o.Name]; !ok {
			t.Errorf("%s: the operands are not told", o.Name)
		}
	}
}

// TestCompletionNames: the scripts are for every link's name.
func TestCompletionNames(t *testing.T) {
	for shell, script := range map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript} {
		for line := range strings.Lines(script) {
			if !strings.Contains(line, " runitbox chpst ") {
				continue
			}
			words := strings.Fields(line)
			for _, name := range names() {
				if !slices.Contains(words, name) {
					t.Errorf("%s: not for %s: %s", shell, name, line)
				}
			}
			if !strings.Contains(line, " halt init poweroff reboot shutdown") { // make install LINKS=--no-init takes these away
				t.Errorf("%s: the names of an init are not together: %s", shell, line)
			}
		}
	}
}

// TestShells types into bash, zsh and fish, with completion as make install puts it.
func TestShells(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, d := range []string{"services/web", "services/mail", "services/mail2", "home", "work/wide"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	makeInstalled(t, filepath.Join(dir, "root"))
	usr := filepath.Join(dir, "root/usr")
	// What is typed, with | for a tab, and what the words are then.
	cases := []struct {
		typed string
		want  string
	}{
		{"sv stat|we|", "<sv> <status> <web>"},
		{"sv -w 5 try|mail2", "<sv> <-w> <5> <try-restart> <mail2>"},
		{"sv --js|", "<sv> <--json>"},
		{"runitbox sv exi|we|", "<runitbox> <sv> <exit> <web>"},
		{"runitbox setup serv|ngi|", "<runitbox> <setup> <services> <nginx>"},
		{"runsv ./wi|", "<runsv> <./wide>"},
		{"setuidgid roo|true", "<setuidgid> <root> <true>"},
		{"chpst --no-|sv stat|we|", "<chpst> <--no-new-privs> <sv> <status> <web>"},
		{"svlogd wi|", "<svlogd> <wide>"},
	}
	env := []string{"HOME=" + dir + "/home", "TERM=dumb", "LC_ALL=C", "SVDIR=" + dir + "/services", "XDG_DATA_DIRS=" + usr + "/share",
		"XDG_CONFIG_HOME=" + dir + "/home", "PATH=" + usr + "/sbin:/usr/bin:/bin"}
	peers := filepath.Join(os.Getenv("RUNITBOX_PEERS"), "shells")
	t.Run("bash", func(t *testing.T) {
		bash, err := exec.LookPath("bash")
		if err != nil {
			skip(t, "no bash here")
		}
		// It loads a command's file when that is first completed.
		loader := filepath.Join(peers, "usr/share/bash-completion/bash_completion")
		if _, err := os.Stat(loader); err != nil {
			skip(t, "no bash-completion here")
		}
		rc := filepath.Join(dir, "bashrc")
		if err := os.WriteFile(rc, []byte("PS1='$ '\nbind 'set bell-style none'\n. "+loader+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		shell := typeInto(t, dir+"/work", env, bash, "--rcfile", rc, "-i")
		shell.await("$ ")
		for _, c := range cases {
			shell.line(c.typed, c.want)
		}
	})
	t.Run("zsh", func(t *testing.T) {
		zsh := filepath.Join(peers, "bin/zsh")
		lib := filepath.Join(peers, "usr/lib/x86_64-linux-gnu/zsh/5.9")
		functions := filepath.Join(peers, "usr/share/zsh/functions")
		if path, err := exec.LookPath("zsh"); err == nil {
			zsh, lib = path, ""
		} else if _, err := os.Stat(lib); err != nil {
			skip(t, "no zsh here")
		}
		rc := ""
		if lib != "" {
			rc = "module_path=(" + lib + ")\nfpath=(" + functions + " " + functions + "/**/*(/))\n"
		}
		zsite, err := filepath.Glob(usr + "/share/zsh/*")
		if err != nil || len(zsite) != 1 {
			t.Fatalf("zsh's directory: %v %v", zsite, err)
		}
		home := filepath.Join(dir, "home")
		if err := os.WriteFile(filepath.Join(home, ".zshenv"), []byte(rc), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, ".zshrc"), []byte("unsetopt beep promptsp promptcr\nfpath=("+zsite[0]+" $fpath)\nautoload -U compinit; compinit -u -D\nPS1='$ '\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		shell := typeInto(t, dir+"/work", append(env, "ZDOTDIR="+home), zsh, "-d", "-i")
		shell.await("$ ")
		for _, c := range cases {
			shell.line(c.typed, c.want)
		}
	})
	t.Run("fish", func(t *testing.T) {
		fish := filepath.Join(peers, "usr/bin/fish")
		if path, err := exec.LookPath("fish"); err == nil {
			fish = path
		} else if _, err := os.Stat(fish); err != nil {
			skip(t, "no fish here")
		}
		complete := func(line string) string {
			cmd := exec.Command(fish, "--no-config", "-c", "set -g fish_complete_path "+usr+"/share/fish/vendor_completions.d "+peers+"/usr/share/fish/completions; set -g fish_function_path "+
				peers+"/usr/share/fish/functions; complete -C '"+line+"'")
			cmd.Env = append(env, "LD_LIBRARY_PATH="+peers+"/usr/lib/x86_64-linux-gnu")
			cmd.Dir = dir + "/work"
			text, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("fish: %v\n%s", err, text)
			}
			var words []string
			for line := range strings.Lines(string(text)) {
				word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
				words = append(words, word)
			}
			slices.Sort(words)
			return strings.Join(words, " ")
		}
		for line, want := range map[string]string{
			"sv stat":                     "status",
			"sv status ":                  "mail mail2 web",
			"sv -w 5 status w":            "web",
			"sv --js":                     "--json",
			"runitbox sv status w":        "web",
			"runitbox setup services ngi": "nginx",
			"runsv ./wi":                  "./wide/",
			"chpst --no-":                 "--no-new-privs",
			"chpst -u root sv status w":   "web",
			"setuidgid roo":               "root",
			"chpst --root=wi":             "--root=wide/",
		} {
			if got := complete(line); got != want {
				t.Errorf("%s: %q, want %q", line, got, want)
			}
		}
	})
}

// makeInstalled has make install put everything below root/usr.
func makeInstalled(t *testing.T, root string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("make"); err != nil {
		skip(t, "no make here")
	}
	cmd := exec.Command("make", append([]string{"-C", "..", "install", "DESTDIR=" + root, "PREFIX=/usr", "OUT=" + filepath.Join(t.TempDir(), "out")}, args...)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, text)
	}
}

// typist is a program on a pseudo terminal.
type typist struct {
	t       *testing.T
	master  *os.File
	output  chan []byte
	read    string
	process *exec.Cmd
}

// typeInto starts a program with a terminal of its own.
func typeInto(t *testing.T, dir string, env []string, argv ...string) *typist {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		skip(t, "no pseudo terminals here")
	}
	unlocked, err := 0, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	if err != nil {
		t.Fatal(unlocked, err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		skip(t, "no pseudo terminals here")
	}
	unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 200})
	term := &typist{t: t, master: master, output: make(chan []byte, 64)}
	term.process = &exec.Cmd{Path: argv[0], Args: argv, Dir: dir, Env: env, Stdin: slave, Stdout: slave, Stderr: slave,
		SysProcAttr: &unix.SysProcAttr{Setsid: true, Setctty: true}}
	if err := term.process.Start(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	go func() {
		for {
			b := make([]byte, 4096)
			n, err := master.Read(b)
			if err != nil {
				close(term.output)
				return
			}
			term.output <- b[:n]
		}
	}()
	t.Cleanup(func() {
		term.process.Process.Kill()
		term.process.Wait()
		master.Close()
	})
	return term
}

// await reads until there is text behind the last that was awaited, and returns what came
// before it.
func (term *typist) await(text string) (before string) {
	term.t.Helper()
	limit := time.After(30 * time.Second)
	for !strings.Contains(term.read, text) {
		select {
		case b, open := <-term.output:
			if term.read += string(b); !open {
				term.t.Fatalf("the shell has ended; it said %q", term.read)
			}
		case <-limit:
			term.t.Fatalf("no %q came, but %q", text, term.read)
		}
	}
	before, term.read, _ = strings.Cut(term.read, text)
	return before
}

// line types a line with tabs for |, and looks at the words that it has become: at its
// beginning a command is put that tells them.
func (term *typist) line(typed, want string) {
	term.t.Helper()
	term.master.WriteString(strings.ReplaceAll(typed, "|", "\t") + "\x01printf ' <%s>' begin \x05 end\r")
	term.await(" <begin>")
	got := strings.TrimSpace(term.await(" <end>"))
	term.await("$ ")
	got = strings.ReplaceAll(got, "/>", ">") // zsh takes the slash away again
	if got != want {
		term.t.Errorf("%s: %q, want %q", typed, got, want)
	}
}
