package setup

import (
	"io/fs"
	"strings"
)

// Home tells where a user has what.
type Home struct {
	Dir      string // the home directory
	Config   string // XDG_CONFIG_HOME, below it
	State    string // XDG_STATE_HOME
	Runitbox string // the executable
}

// Own are the files for a tree of the caller's own, below his home directory: what is
// needed always, and what the options ask for that start it. An option's last file may
// be one of the user's that gets a line more.
func Own(h Home, options ...string) (whole, lines []File) {
	put := strings.NewReplacer("@CONFIG@", h.Config, "@STATE@", h.State, "@HOME@", h.Dir, "@RUNITBOX@", h.Runitbox,
		"@SERVICES@", h.Dir+"/"+h.Config+"/service")
	for _, option := range append([]string{"base"}, options...) {
		for _, f := range parse(text("user.txt")) {
			name, file, _ := strings.Cut(f.Path, "/")
			if name != option {
				continue
			}
			f.Path, f.Text, f.Mode = put.Replace(file), put.Replace(f.Text), scriptMode(f.Text)
			if option == "login" {
				lines = append(lines, f)
			} else {
				whole = append(whole, f)
			}
		}
	}
	return whole, lines
}

// ForUser is the service of the system's that is a user's tree or, with x, his X session.
func ForUser(user string, x bool) []File {
	kind, name := "tree", "user-"+user
	if x {
		kind, name = "x-session", "x-"+user
	}
	var all []File
	for _, f := range parse(text("user.txt")) {
		if file, ok := strings.CutPrefix(f.Path, kind+"/"); ok {
			f.Path = name + "/" + file
			all = append(all, f)
		}
	}
	return append(all, File{Path: name + "/log/run", Text: logRun(), Mode: 0o755})
}

// logRun is the log service of all services.
func logRun() string {
	for _, f := range parse(text("services.txt")) {
		if f.Path == "log/run" {
			return f.Text
		}
	}
	return ""
}

// scriptMode are the permissions of a file that may be a script.
func scriptMode(text string) fs.FileMode {
	if strings.HasPrefix(text, "#!") {
		return 0o755
	}
	return 0o644
}
