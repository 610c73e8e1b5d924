package procenv

import (
	"errors"
	"syscall"
)

// Environment is what a program finds in its environ. A name is there once at
// most.
type Environment []string

// Set gives name a value.
func (e *Environment) Set(name, value string) {
	for i, entry := range *e {
		if named(entry, name) {
			(*e)[i] = name + "=" + value
			return
		}
	}
	*e = append(*e, name+"="+value)
}

// Unset takes name out.
func (e *Environment) Unset(name string) {
	for i, entry := range *e {
		if named(entry, name) {
			*e = append((*e)[:i], (*e)[i+1:]...)
			return
		}
	}
}

func named(entry, name string) bool {
	return len(entry) > len(name) && entry[len(name)] == '=' && entry[:len(name)] == name
}

// variable reads a file of an environment directory: the first line without
// the blanks at its end, where a zero byte stands for a newline. An empty file
// says that the variable is not to be set.
func variable(content []byte) (value string, set bool) {
	if len(content) == 0 {
		return "", false
	}
	line, _, _ := cut(string(content), '\n')
	for line != "" && (line[len(line)-1] == ' ' || line[len(line)-1] == '\t') {
		line = line[:len(line)-1]
	}
	if !contains(line, 0) {
		return line, true
	}
	text := []byte(line)
	for i, b := range text {
		if b == 0 {
			text[i] = '\n'
		}
	}
	return string(text), true
}

// errEqual is why a file is not a variable.
var errEqual = errors.New("name contains =")

// envDir sets one variable for each file of the directory.
func (c *Change) envDir(env *Environment) error {
	if c.EnvDir == nil {
		return nil
	}
	dir := *c.EnvDir
	start, err := syscall.Open(".", syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return failed("open current working directory", err)
	}
	defer syscall.Close(start)
	if err := chdir("switch to directory", dir); err != nil {
		return err
	}
	names, err := list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		content, err := read(name)
		path := dir + "/" + name
		switch {
		case err == syscall.ENOENT: // a link that leads nowhere, or gone meanwhile
			continue
		case err == syscall.EISDIR && !c.NoSubdirs:
			if c.Verbose {
				c.warn(failed("read "+path, err))
			}
			continue
		case err != nil:
			return failed("read "+path, err)
		case contains(name, '='):
			c.warn(failed("set variable "+path, errEqual))
			continue
		}
		if value, set := variable(content); set {
			env.Set(name, value)
		} else {
			env.Unset(name)
		}
	}
	return failed("switch to starting directory", syscall.Fchdir(start))
}

func (c *Change) warn(err error) {
	if c.Warn != nil {
		c.Warn(err)
	}
}

// list names what is in the working directory, which the user calls dir, but
// for names that begin with a dot.
func list(dir string) ([]string, error) {
	fd, err := syscall.Open(".", syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, failed("open directory: "+dir, err)
	}
	defer syscall.Close(fd)
	var names []string
	buf := make([]byte, 1024)
	for {
		n, err := syscall.ReadDirent(fd, buf)
		if err != nil {
			return nil, failed("read directory: "+dir, err)
		}
		if n == 0 {
			break
		}
		_, _, names = syscall.ParseDirent(buf[:n], -1, names)
	}
	shown := names[:0]
	for _, name := range names {
		if name[0] != '.' {
			shown = append(shown, name)
		}
	}
	return shown, nil
}

// read is the content of a file. A FIFO is read without waiting for a writer.
func read(path string) ([]byte, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	content := make([]byte, 0, 1024)
	for {
		n, err := syscall.Read(fd, content[len(content):cap(content)])
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return content, err
		}
		content = content[:len(content)+n]
		if len(content) == cap(content) {
			content = append(content, 0)[:len(content)]
		}
	}
}
