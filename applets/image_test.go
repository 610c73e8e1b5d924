package applets

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// image is what a container file says, of what it may say.
type image struct {
	files      map[string]bootFile
	env        []string
	stop       string
	health     []string
	entrypoint []string
	command    []string
}

// readImage does what the lines of a container file say, with the files of the directory
// context.
func readImage(t *testing.T, text, context string) *image {
	t.Helper()
	m := &image{files: map[string]bootFile{}, stop: "SIGTERM"}
	list := func(text string) (words []string) {
		if err := json.Unmarshal([]byte(text), &words); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		return words
	}
	for line := range strings.Lines(text) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		args := strings.Fields(rest)
		switch verb {
		case "", "#":
		case "FROM":
			if rest != "scratch" {
				t.Fatalf("FROM %s: only from scratch", rest)
			}
		case "COPY":
			if len(args) != 2 {
				t.Fatalf("COPY %s: an engine takes each word but the last for a file", rest)
			}
			m.copy(t, filepath.Join(context, args[0]), args[1])
		case "ENV":
			m.env = append(m.env, args...)
		case "STOPSIGNAL":
			m.stop = rest
		case "HEALTHCHECK":
			m.health = list(strings.TrimPrefix(rest, "CMD "))
		case "ENTRYPOINT":
			m.entrypoint = list(rest)
		case "CMD":
			m.command = list(rest)
		default:
			t.Fatalf("what is %q?", line)
		}
	}
	return m
}

// copy copies a file, or what is in a directory.
func (m *image) copy(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.Walk(from, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(filepath.Join(to, below), "/")
		file := bootFile{mode: uint32(info.Mode().Perm())}
		switch {
		case info.IsDir():
			file.mode |= unix.S_IFDIR
		case info.Mode()&os.ModeSymlink != 0:
			file.mode |= unix.S_IFLNK
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			file.data = []byte(target)
		default:
			file.mode |= unix.S_IFREG
			if file.data, err = os.ReadFile(path); err != nil {
				return err
			}
		}
		if name != "" {
			m.files[name] = file
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// recipe is a container of the image, as an engine makes it: with devices and /proc of its
// own making.
func (m *image) recipe(name string, how ...string) *recipe {
	r := &recipe{name: name, files: m.files, limits: how}
	for _, dir := range []string{"proc", "dev", "run", "tmp"} {
		r.files[dir] = bootFile{mode: unix.S_IFDIR | 0o755}
	}
	r.files["dev/null"] = bootFile{mode: unix.S_IFCHR | 0o666, dev: [2]uint32{1, 3}}
	r.container = append(append(append([]string{"/bin/env"}, m.env...), m.entrypoint...), m.command...)
	for _, word := range how {
		r.readonly = r.readonly || word == "readonly"
		r.mapped = r.mapped || word == "mapped"
	}
	return r
}

// TestImage makes an image as the container file in supervise/README.md says, and runs it in
// the ways that the table below tells of: it becomes healthy, and ends by its stop signal.
func TestImage(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		skip(t, "containers with busybox of the peers")
	}
	readme, err := os.ReadFile("../supervise/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(readme), "\n    FROM scratch\n")
	if !found {
		t.Fatal("supervise/README.md has no container file")
	}
	text, _, _ = strings.Cut(text, "\n\n")
	init, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	context := t.TempDir()
	files := map[string]string{
		"bin/app":             "#!/bin/sh\ntrap 'echo app: the end; exit 7' TERM\necho app: up\nuntil /health; do usleep 10000; done\necho healthy\nwhile :; do usleep 10000; done\n",
		"service/web/run":     "#!/bin/sh\ntrap 'echo web: the end; exit' TERM\necho >/run/web\nwhile :; do usleep 10000; done\n",
		"service/web/check":   "#!/bin/sh\ntest -e /run/web\n",
		"service/web/log/run": "#!/bin/sh\nexec cat\n",
	}
	for name, content := range files {
		path := filepath.Join(context, "root", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{"root/sbin/sv": "runsvdir", "runitbox": init, "root/bin/busybox": peer(t, "busybox")}
	for _, name := range []string{"sh", "env", "usleep", "cat", "test"} {
		links["root/bin/"+name] = "busybox"
	}
	for name, target := range links {
		path := filepath.Join(context, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if filepath.IsAbs(target) { // a copy
			b, err := os.ReadFile(target)
			if err == nil {
				err = writeFile(path, b, 0o755)
			}
			if err != nil {
				t.Fatal(err)
			}
		} else if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	for _, how := range []string{"", "readonly", "mapped readonly", "uid=1000 nocaps seccomp readonly", "uid=1000 nocaps seccomp noproc readonly"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			if os.Geteuid() != 0 && strings.Contains(how, "uid=") {
				skip(t, "needs root")
			}
			m := readImage(t, "FROM scratch\n"+text, context)
			m.files["health"] = bootFile{mode: unix.S_IFREG | 0o755, data: fmt.Appendf(nil, "#!/bin/sh\nexec %s\n", strings.Join(m.health, " "))}
			r := m.recipe("image", strings.Fields(how)...)
			r.steps = append(r.steps, bootStep{"want", "app: up"}, bootStep{"want", "healthy"}, bootStep{"signal", strings.TrimPrefix(m.stop, "SIG")},
				bootStep{"want", "app: the end"}, bootStep{"want", "web: the end"}, bootStep{"ends", "exit 7"}, bootStep{"within", "8s"})
			bootContainer(t, r, "of README's container file").follow(r)
		})
	}
}
