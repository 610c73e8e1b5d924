package setup

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// put makes files below dir: a text, or with "-> " before it a link.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(to, at)
		} else {
			err = os.WriteFile(at, []byte(text), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// found tells what there is below dir, in the form that put takes.
func found(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(at string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, at)
		if to, err := os.Readlink(at); err == nil {
			all[name] = "-> " + to
			return nil
		}
		text, err := os.ReadFile(at)
		all[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var two = []File{{Path: "web/run", Text: "new", Mode: 0o755}, {Path: "web/log/run", Text: "log", Mode: 0o755}}

func TestPlanAndWrite(t *testing.T) {
	for name, tt := range map[string]struct {
		before map[string]string
		states []State
		after  map[string]string // of what is below the root, where it is written
	}{
		"nothing is there":                {nil, []State{Absent, Absent}, map[string]string{"etc/sv/web/run": "new", "etc/sv/web/log/run": "log"}},
		"all is there":                    {map[string]string{"etc/sv/web/run": "new", "etc/sv/web/log/run": "log"}, []State{Same, Same}, map[string]string{"etc/sv/web/run": "new", "etc/sv/web/log/run": "log"}},
		"one differs":                     {map[string]string{"etc/sv/web/run": "old"}, []State{Differs, Absent}, map[string]string{"etc/sv/web/run": "new", "etc/sv/web/log/run": "log"}},
		"others are left alone":           {map[string]string{"etc/sv/web/conf": "mine"}, []State{Absent, Absent}, map[string]string{"etc/sv/web/conf": "mine", "etc/sv/web/run": "new", "etc/sv/web/log/run": "log"}},
		"a link to another directory":     {map[string]string{"etc/sv": "-> ../usr/sv", "usr/sv/x": "x"}, []State{Absent, Absent}, map[string]string{"etc/sv": "-> ../usr/sv", "usr/sv/x": "x", "usr/sv/web/run": "new", "usr/sv/web/log/run": "log"}},
		"what a run left that was killed": {map[string]string{"etc/sv/web/run.runitbox-new": "half"}, []State{Absent, Absent}, map[string]string{"etc/sv/web/run": "new", "etc/sv/web/log/run": "log"}},
		"a link in place of a file":       {map[string]string{"etc/sv/web/run": "-> /bin/true"}, []State{Foreign, Absent}, nil},
		"a file in place of a directory":  {map[string]string{"etc/sv/web": "file"}, []State{Foreign, Foreign}, nil},
		"a link out of the root":          {map[string]string{"etc/sv/web": "-> /tmp"}, []State{Foreign, Foreign}, nil},
		"a link up and out":               {map[string]string{"etc/sv/web": "-> ../../../../tmp"}, []State{Foreign, Foreign}, nil},
		"a link that leads nowhere":       {map[string]string{"etc/sv/web/log": "-> nowhere"}, []State{Absent, Foreign}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, tt.before)
			target, err := Open(dir, ServiceDir)
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			steps, err := target.Plan(two)
			if err != nil {
				t.Fatal(err)
			}
			var states []State
			for _, s := range steps {
				states = append(states, s.State)
				if (s.State == Foreign) != (s.Cause != nil) {
					t.Errorf("%s: state %d, cause %v", s.Path, s.State, s.Cause)
				}
			}
			if diff := cmp.Diff(tt.states, states); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
			if tt.after == nil {
				return
			}
			if err := target.Write(steps); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.after, found(t, dir)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if steps, err = target.Plan(two); err != nil || steps[0].State != Same || steps[1].State != Same {
				t.Errorf("the second time: %v, %v", steps, err)
			}
		})
	}
}

// TestWriteFails: where a file cannot be written, what was made before it is gone.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	before := map[string]string{"etc/sv/old/run": "old", "etc/sv/web/log": "a file"}
	put(t, dir, before)
	target, err := Open(dir, ServiceDir)
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	err = target.Write([]Step{
		{File: File{Path: "etc/levels/single", Mode: fs.ModeDir | 0o755}, State: Absent},
		{File: File{Path: "etc/levels/single/web", Text: "/etc/sv/web", Mode: fs.ModeSymlink}, State: Absent},
		{File: File{Path: "etc/sv/old/run", Text: "new", Mode: 0o755}, State: Differs},
		{File: File{Path: "etc/sv/fresh/control/h", Text: "new", Mode: 0o755}, State: Absent},
		{File: File{Path: "etc/sv/web/log/run", Text: "new", Mode: 0o755}, State: Absent}, // it came behind the plan
	})
	if err == nil {
		t.Error("no error")
	}
	if diff := cmp.Diff(before, found(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, name := range []string{"etc/sv/fresh", "etc/levels"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was left", name)
		}
	}
}

// TestServices: each has a run script that tells what it is for, and is whole.
func TestServices(t *testing.T) {
	names := map[string]bool{}
	for _, s := range Services() {
		if names[s.Name] {
			t.Errorf("%s is there twice", s.Name)
		}
		names[s.Name] = true
		if s.About == "" || strings.HasPrefix(s.About, "exec") || len(s.About) > 60 {
			t.Errorf("%s: about: %q", s.Name, s.About)
		}
		files := map[string]string{}
		for _, f := range s.Files {
			name, ok := strings.CutPrefix(f.Path, s.Name+"/")
			if _, twice := files[name]; twice || !ok {
				t.Errorf("%s: file %s", s.Name, f.Path)
			}
			files[name] = f.Text
			if strings.HasPrefix(name, "flag-") {
				if f.Text != "" || f.Mode != 0o644 {
					t.Errorf("%s: %q, %v", f.Path, f.Text, f.Mode)
				}
			} else if !strings.HasPrefix(f.Text, "#!/bin/sh\n") || !strings.HasSuffix(f.Text, "\n") || f.Mode != 0o755 {
				t.Errorf("%s is no script", f.Path)
			}
		}
		for _, tool := range []string{"curl ", "socat ", "nc ", "pkill ", "pgrep "} {
			if all := strings.Join(slices.Collect(maps.Values(files)), ""); strings.Contains(all, tool) {
				t.Errorf("%s calls %s, which a system need not have", s.Name, tool)
			}
		}
		if !strings.Contains(files["run"], "\nexec ") {
			t.Errorf("%s/run becomes no program", s.Name)
		}
	}
	if len(names) < 50 {
		t.Errorf("%d services", len(names))
	}
}

// TestPlanKinds: links and directories are planned and made as files are.
func TestPlanKinds(t *testing.T) {
	link := File{Path: "web", Text: "/etc/sv/web", Mode: fs.ModeSymlink}
	yields := File{Path: "web", Text: "/etc/sv/web", Mode: fs.ModeSymlink, Yields: true}
	dir := File{Path: "web", Mode: fs.ModeDir | 0o755}
	for name, tt := range map[string]struct {
		before map[string]string
		file   File
		state  State
		after  map[string]string
	}{
		"a link":                         {nil, link, Absent, map[string]string{"web": "-> /etc/sv/web"}},
		"the same link":                  {map[string]string{"web": "-> /etc/sv/web"}, link, Same, map[string]string{"web": "-> /etc/sv/web"}},
		"another link":                   {map[string]string{"web": "-> /tmp"}, link, Differs, map[string]string{"web": "-> /etc/sv/web"}},
		"a file in place of a link":      {map[string]string{"web": "text"}, link, Foreign, nil},
		"another link, and it yields":    {map[string]string{"web": "-> /tmp"}, yields, Left, map[string]string{"web": "-> /tmp"}},
		"a file, and it yields":          {map[string]string{"web": "text"}, yields, Left, map[string]string{"web": "text"}},
		"the same link, and it yields":   {map[string]string{"web": "-> /etc/sv/web"}, yields, Same, map[string]string{"web": "-> /etc/sv/web"}},
		"nothing, and it yields":         {nil, yields, Absent, map[string]string{"web": "-> /etc/sv/web"}},
		"a directory":                    {nil, dir, Absent, map[string]string{}},
		"a directory that is there":      {map[string]string{"web/run": "text"}, dir, Same, map[string]string{"web/run": "text"}},
		"a link in place of a directory": {map[string]string{"web": "-> /tmp"}, dir, Foreign, nil},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			put(t, root, tt.before)
			target, err := Open(root, "")
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			steps, err := target.Plan([]File{tt.file})
			if err != nil || steps[0].State != tt.state {
				t.Fatalf("%v, %v, want state %d", steps, err, tt.state)
			}
			if tt.after == nil {
				return
			}
			if err := target.Write(steps); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.after, found(t, root)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if info, err := os.Lstat(filepath.Join(root, "web")); err != nil || tt.file.Mode.IsDir() && !info.IsDir() {
				t.Errorf("%v, %v", info, err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("about\n-- a/run --\ntext\n-- b/run --\n")
	f.Add("-- --\n-- -- --\n")
	f.Add("-- a --")
	f.Fuzz(func(t *testing.T, text string) {
		for _, file := range parse(text) {
			if strings.Contains(file.Path, "\n") {
				t.Errorf("path %q", file.Path)
			}
		}
	})
}

// TestSeen: the table of README.md tells of services that there are, and of nothing that
// did not hold.
func TestSeen(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, s := range Services() {
		known[s.Name] = true
	}
	seen := 0
	_, table, _ := strings.Cut(string(text), "|---|")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, " | ")
		if len(cells) != 9 {
			continue
		}
		seen++
		if name := strings.TrimPrefix(cells[0], "| "); !known[name] || strings.Contains(line, "[") {
			t.Errorf("%s", line)
		}
	}
	if seen < 40 {
		t.Errorf("%d services were tried, want 40", seen)
	}
}
